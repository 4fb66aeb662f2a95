"""A stage `pretrain` small enough to be killed, pre-empted and starved hundreds of times."""

from __future__ import annotations

from pathlib import Path

from components.artifacts.manifest import InputRecord
from components.contract import Resources
from components.execution.request import StageRequest
from components.model.config import ModelConfig
from components.pretraining.config import PretrainConfig
from components.stages import PRETRAIN, TABLE
from components.tracking.journal import read_journal
from tests.components.training.sample_inputs import make_inputs
from tests.faults.attempts import ask, attempt_of, commit

BATCH_TOKENS = 512


class Trainer:
    """Ask for attempts at one checkpoint in a home of its own."""

    def __init__(self, home: Path, steps: int, shape: ModelConfig | None = None) -> None:
        self.home = home
        sample = make_inputs(home / "sample")
        self.inputs: tuple[InputRecord, ...] = (
            commit(home, "shards", sample.shards),
            commit(home, "tokenizer", sample.tokenizer),
        )
        self.config = PretrainConfig(
            model=shape or sample.shape,
            tokens=steps * BATCH_TOKENS,
            batch_tokens=BATCH_TOKENS,
            sequence_length=64,
            heldout_tokens=300,
            heldout_evaluations=1,
        )

    def ask(self, resume_seconds: float, seed: int = 0) -> StageRequest:
        """Write the request of the next attempt; another seed makes another checkpoint."""
        return ask(
            self.home,
            PRETRAIN,
            self.config.model_copy(update={"seed": seed}),
            TABLE,
            inputs=self.inputs,
            resources=Resources(threads=1, micro_batch=2, resume_seconds=resume_seconds),
        )

    def steps(self, request: StageRequest) -> list[int]:
        """Return the optimizer steps that an attempt has journalled."""
        journal = attempt_of(self.home, request).journal
        return [record["step"] for record in read_journal(journal) if record["kind"] == "metric"]


def newest_point(place: Path) -> int:
    """Return the newest resume point under a directory; -1 without any."""
    points = [path.name for path in place.glob("step-????????")]
    return max((int(name.removeprefix("step-")) for name in points), default=-1)
