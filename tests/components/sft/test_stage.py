from __future__ import annotations

from pathlib import Path

import pytest

from components.artifacts.types import Checkpoint
from components.contract import Stopped
from components.pretraining.config import PretrainConfig, PretrainInputs
from components.pretraining.stage import run as pretrain
from components.sft.config import SftConfig, SftInputs
from components.sft.stage import run
from tests.components.training.sample_inputs import (
    SampleInputs,
    StopAfter,
    checkpoint,
    curve,
    digests,
    make_context,
    make_inputs,
)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleInputs:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def initial(sample: SampleInputs, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    context = make_context(tmp_path_factory.mktemp("initial"))
    config = PretrainConfig(
        model=sample.shape, tokens=1024, batch_tokens=256, sequence_length=64, heldout_tokens=0
    )
    pretrain(config, PretrainInputs(shards=sample.shards, tokenizer=sample.tokenizer), context)
    return checkpoint(context)


CONFIG = SftConfig(epochs=6, batch_tokens=1024, sequence_length=128)


def test_learns_and_is_equal_when_interrupted(
    sample: SampleInputs, initial: Checkpoint, tmp_path: Path
) -> None:
    inputs = SftInputs(
        initial=initial, trajectories=sample.trajectories, tokenizer=sample.tokenizer
    )
    whole = make_context(tmp_path / "whole")
    facts = run(CONFIG, inputs, whole)
    losses = curve(whole, "train/loss")
    assert losses[facts.steps] < 0.7 * losses[1]
    assert facts.conversations == 40
    assert facts.loss_tokens < facts.tokens_seen / CONFIG.epochs

    stopped = make_context(tmp_path / "stopped", stop_requested=StopAfter(5))
    with pytest.raises(Stopped):
        run(CONFIG, inputs, stopped)
    resumed = make_context(tmp_path / "resumed", earlier=(stopped.resume,))
    assert run(CONFIG, inputs, resumed) == facts
    assert digests(resumed.out) == digests(whole.out)
