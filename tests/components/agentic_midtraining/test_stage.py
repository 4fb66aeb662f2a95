from __future__ import annotations

from pathlib import Path

import pytest

from components.agentic_midtraining.config import AgenticMidtrainConfig, AgenticMidtrainInputs
from components.agentic_midtraining.stage import run
from components.artifacts.types import Checkpoint
from components.contract import BadInput, Stopped
from components.pretraining.config import PretrainConfig, PretrainInputs
from components.pretraining.stage import run as pretrain
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


def given(sample: SampleInputs, initial: Checkpoint) -> AgenticMidtrainInputs:
    return AgenticMidtrainInputs(
        initial=initial,
        trajectories=sample.trajectories,
        shards=sample.shards,
        tokenizer=sample.tokenizer,
    )


CONFIG = AgenticMidtrainConfig(
    tokens=20 * 1024, batch_tokens=1024, sequence_length=128, heldout_tokens=600
)


def test_learns_and_is_equal_when_interrupted(
    sample: SampleInputs, initial: Checkpoint, tmp_path: Path
) -> None:
    whole = make_context(tmp_path / "whole")
    facts = run(CONFIG, given(sample, initial), whole)
    losses = curve(whole, "train/loss")
    assert losses[20] < 0.8 * losses[1]
    assert facts.steps == 20
    assert facts.trajectories == 40
    assert facts.trajectories_too_long == 0
    assert 0.1 < facts.loss_share < 0.7
    assert facts.total_tokens == 1024 + facts.tokens_seen
    # 60 % of 160 sequences over the packed ones.
    packed = 96 / facts.trajectory_epochs
    assert packed == pytest.approx(round(packed))
    assert set(facts.bits_per_byte) == {"general", "stem", "code"}

    stopped = make_context(tmp_path / "stopped", stop_requested=StopAfter(7))
    with pytest.raises(Stopped):
        run(CONFIG, given(sample, initial), stopped)
    resumed = make_context(tmp_path / "resumed", earlier=(stopped.resume,))
    assert run(CONFIG, given(sample, initial), resumed) == facts
    assert digests(resumed.out) == digests(whole.out)


def test_refuses_sequences_that_hold_no_trajectory(
    sample: SampleInputs, initial: Checkpoint, tmp_path: Path
) -> None:
    short = CONFIG.model_copy(update={"sequence_length": 16})
    with pytest.raises(BadInput, match=r"raise sample\.sequence_length"):
        run(short, given(sample, initial), make_context(tmp_path / "a"))
    long = CONFIG.model_copy(update={"sequence_length": 512, "batch_tokens": 1024})
    with pytest.raises(BadInput, match="the model has 256 positions"):
        run(long, given(sample, initial), make_context(tmp_path / "b"))
