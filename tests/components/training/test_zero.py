"""ZeRO over gloo beside plain data parallelism: two and three ranks; four that become two and one.

Starting ranks costs far more than their steps, so every world is started once and makes all runs.
"""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from components.contract import BadInput, Resources, Stopped
from components.tracking.journal import read_journal
from components.training.engine import Course
from components.training.loop import Training, prepare, train
from components.training.loss import Batch, next_token_loss
from components.training.optimizer import OptimizerSettings
from components.training.zero import Zero
from tests.components.training.sample_inputs import StopAfter, make_context
from tests.components.training.test_loop import made, poisoned, ramps, weights

pytestmark = pytest.mark.slow

ROWS, STEPS, STOP, CHAIN_STEPS = 12, 14, 8, 50
BAD_STEP = 2
"""Its first micro-batch is poisoned on rank 0."""
STOPS = {4: 17, 2: 34, 1: 0}
"""After how many steps a world of the chain 4, 2, 1 is stopped."""


def adamw(steps: int, seen: list[tuple[int, int]], **changes: Any) -> Training:
    def batch(step: int, rows: range) -> Batch:
        seen.extend((step, row) for row in rows)
        return ramps(step, rows)

    settings = OptimizerSettings(0.01, weight_decay=0.1)
    return made(steps, optimizer=settings, rows=lambda _step: ROWS, batch=batch, **changes)


class Rank:
    """Make the runs of one rank; ranks share no directory."""

    def __init__(self, rank: int, world: int, home: Path) -> None:
        self.rank, self.world, self.home = rank, world, home
        self.first: Training | None = None

    def run(self, name: str, parallel: str, steps: int, *, stop: int = 0, after: str = "") -> None:
        """Train; `stop` ends it on the last rank's word, `after` names the run it goes on from."""
        directory = self.home / name / f"rank-{self.rank}"
        earlier = (self.home / after / "rank-0" / "resume",) if after and self.rank == 0 else ()
        resources = Resources(threads=1, micro_batch=2, processes=self.world, parallel=parallel)
        context = replace(
            make_context(directory, earlier=earlier, resources=resources),
            rank=self.rank,
            world_size=self.world,
        )
        if stop and self.rank == self.world - 1:
            context = replace(context, stop_requested=StopAfter(stop))
        prepare(context)
        seen: list[tuple[int, int]] = []
        micro_batches = math.ceil(ROWS / self.world / 2)
        bad = {(BAD_STEP - 1) * micro_batches} if steps == STEPS and not after else set()
        bad = bad if self.rank == 0 else set()
        training = adamw(steps, seen, loss=poisoned(bad))
        try:
            train(training, context)
        except Stopped:
            assert stop
        (directory / "seen.json").write_text(json.dumps(seen))
        torch.save(weights(training), directory / "weights.pt")


def rank_main(rank: int, world: int, home: Path) -> None:
    """Make all runs of a world."""
    ranks = Rank(rank, world, home)
    if world in (2, 3):
        for parallel in ("data", "zero1", "zero2"):
            name = f"{parallel}-{world}"
            ranks.run(name, parallel, STEPS)
            ranks.run(f"{name}-stopped", parallel, STEPS, stop=STOP)
            ranks.run(f"{name}-resumed", parallel, STEPS, after=f"{name}-stopped")
    if world in (4, 2):
        before = {4: "", 2: "chain-4"}[world]
        stop = STOPS[world] - STOPS.get(world * 2, 0)
        ranks.run(f"chain-{world}", "zero2", CHAIN_STEPS, stop=stop, after=before)


def start(world: int, home: Path) -> None:
    """Run `rank_main` in so many processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    code = (
        "import sys; from pathlib import Path; "
        "from tests.components.training.test_zero import rank_main; "
        "rank_main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))"
        "; from components.execution.ranks import end_rank; end_rank(0)"
    )
    ranks: list[subprocess.Popen[bytes]] = []
    for rank in range(world):
        environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
        argv = [sys.executable, "-c", code, str(rank), str(world), str(home)]
        ranks.append(subprocess.Popen(argv, env=environment))
    assert [rank.wait(timeout=240) for rank in ranks] == [0] * world


@dataclass(frozen=True)
class Runs:
    """Read back what ranks left behind."""

    home: Path

    def losses(self, name: str) -> dict[int, float]:
        return {
            record["step"]: record["values"]["train/loss"]
            for record in read_journal(self.home / name / "rank-0" / "journal")
            if record["kind"] == "metric"
        }

    def weights(self, name: str, rank: int = 0) -> torch.Tensor:
        return torch.load(self.home / name / f"rank-{rank}" / "weights.pt")

    def seen(self, name: str) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for path in (self.home / name).glob("rank-*/seen.json"):
            found += [(step, row) for step, row in json.loads(path.read_text())]
        return sorted(found)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    home = tmp_path_factory.mktemp("zero")
    for world in (4, 2, 3):
        start(world, home)
    Rank(0, 1, home).run("chain-1", "zero2", CHAIN_STEPS, after="chain-2")
    Rank(0, 1, home).run("undisturbed", "data", CHAIN_STEPS)
    return Runs(home)


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("parallel", ["zero1", "zero2"])
def test_trains_like_plain_data_parallelism(runs: Runs, parallel: str, world: int) -> None:
    """Uneven micro-batches, decay, clipping, and a NaN batch on one rank that all leave out."""
    plain, shared = f"data-{world}", f"{parallel}-{world}"
    ours, theirs = runs.losses(shared), runs.losses(plain)
    assert list(ours) == list(theirs) == list(range(1, STEPS + 1))
    assert [step for step, loss in ours.items() if math.isnan(loss)] == [BAD_STEP]
    finite = [step for step in ours if step != BAD_STEP]
    assert [ours[at] for at in finite] == pytest.approx([theirs[at] for at in finite], abs=1e-4)
    torch.testing.assert_close(runs.weights(shared), runs.weights(plain), rtol=1e-3, atol=1e-3)
    assert runs.seen(shared) == runs.seen(plain)
    for rank in range(world):
        assert torch.equal(runs.weights(shared), runs.weights(shared, rank))


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("parallel", ["data", "zero1", "zero2"])
def test_a_resumed_run_equals_an_undisturbed_one(runs: Runs, parallel: str, world: int) -> None:
    """Bit by bit, and only rank 0 can read the resume point."""
    name = f"{parallel}-{world}"
    resumed = runs.losses(f"{name}-resumed")
    assert list(resumed) == list(range(STOP + 1, STEPS + 1))
    whole = runs.losses(name)
    assert resumed == {step: whole[step] for step in resumed}
    for rank in range(world):
        assert torch.equal(runs.weights(f"{name}-resumed", rank), runs.weights(name))


def test_four_ranks_become_two_and_one(runs: Runs) -> None:
    parts = {world: runs.losses(f"chain-{world}") for world in (4, 2, 1)}
    assert [(min(part), max(part)) for part in parts.values()] == [(1, 17), (18, 34), (35, 50)]
    whole = runs.losses("undisturbed")
    for step, loss in (parts[4] | parts[2] | parts[1]).items():
        assert loss == pytest.approx(whole[step], abs=1e-3)
    data = sorted(each for world in (4, 2, 1) for each in runs.seen(f"chain-{world}"))
    assert data == [(step, row) for step in range(CHAIN_STEPS) for row in range(ROWS)]


def test_only_rank_0_writes_and_the_state_is_whole(runs: Runs) -> None:
    """So DeepSpeed can be left for plain data parallelism, and back."""
    names: list[list[str]] = []
    for parallel in ("data", "zero2"):
        directory = runs.home / f"{parallel}-2-stopped"
        assert not list(directory.glob("rank-1/resume/*"))
        with safe_open(
            directory / "rank-0" / "resume" / f"step-{STOP:08d}" / "tensors.safetensors", "pt"
        ) as file:
            names.append(sorted(file.keys()))
    assert names[0] == names[1]
    assert "optimizer.adamw.updates" in names[0]


def test_refuses_muon_with_the_way_out(tmp_path: Path) -> None:
    context = make_context(tmp_path, resources=Resources(processes=2, parallel="zero1"))
    training = made()
    course = Course(training.model, next_token_loss, training.optimizer, 1.0)
    with pytest.raises(BadInput, match=r"set sample\.matrix_learning_rate=null, or resources"):
        Zero(course, context)
