from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.contract import BadInput, Stopped
from components.model.weights import load_model
from components.pretraining.config import PretrainConfig, PretrainInputs
from components.pretraining.stage import run
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


def configured(sample: SampleInputs, **changes: object) -> PretrainConfig:
    settings: dict[str, object] = {
        "model": sample.shape,
        "tokens": 24 * 256,
        "batch_tokens": 256,
        "sequence_length": 32,
        "growth": ((0.5, 64),),
        "heldout_tokens": 600,
        "heldout_evaluations": 1,
        "seed": 7,
    }
    return PretrainConfig.model_validate(settings | changes)


def inputs_of(sample: SampleInputs, **more: object) -> PretrainInputs:
    return PretrainInputs(shards=sample.shards, tokenizer=sample.tokenizer, **more)  # type: ignore[arg-type]


def test_learns_and_reports(sample: SampleInputs, tmp_path: Path) -> None:
    context = make_context(tmp_path / "a")
    facts = run(configured(sample), inputs_of(sample), context)

    losses = curve(context, "train/loss")
    assert list(losses) == list(range(1, 25))
    assert losses[24] < 0.75 * losses[1]
    assert facts.steps == 24
    assert facts.tokens_seen == facts.total_tokens == 24 * 256
    assert set(facts.bits_per_byte) == {"general", "stem", "code"}
    scored = curve(context, "eval/bits_per_byte/general")
    assert list(scored) == [12, 24]
    assert scored[24] == facts.bits_per_byte["general"] < scored[12]
    stored = json.loads((context.out / "strata.json").read_text())
    assert stored["steps"] == 24
    assert sorted(path.name for path in context.out.iterdir()) == [
        "config.json",
        "model.safetensors",
        "strata.json",
    ]
    assert sum(p.numel() for p in load_model(context.out).parameters()) == facts.parameters


def test_equal_bytes_when_repeated_and_when_interrupted(
    sample: SampleInputs, tmp_path: Path
) -> None:
    config, inputs = configured(sample), inputs_of(sample)
    first = make_context(tmp_path / "first")
    facts = run(config, inputs, first)

    again = make_context(tmp_path / "again")
    assert run(config, inputs, again) == facts
    assert digests(again.out) == digests(first.out)

    stopped = make_context(tmp_path / "stopped", stop_requested=StopAfter(9))
    with pytest.raises(Stopped):
        run(config, inputs, stopped)
    twice = make_context(tmp_path / "twice", earlier=(stopped.resume,), stop_requested=StopAfter(5))
    with pytest.raises(Stopped):
        run(config, inputs, twice)
    assert list(curve(twice, "train/loss")) == [10, 11, 12, 13, 14]
    resumed = make_context(tmp_path / "resumed", earlier=(twice.resume, stopped.resume))
    assert run(config, inputs, resumed) == facts
    assert digests(resumed.out) == digests(first.out)
    tail = {step: loss for step, loss in curve(first, "train/loss").items() if step > 14}
    assert curve(resumed, "train/loss") == tail


def test_a_second_phase_starts_from_the_first(sample: SampleInputs, tmp_path: Path) -> None:
    first = make_context(tmp_path / "first")
    before = run(configured(sample), inputs_of(sample), first)
    second = make_context(tmp_path / "second")
    mixture = {"stem": 0.6, "code": 0.4}
    config = configured(sample, mixture=mixture, growth=())
    facts = run(config, inputs_of(sample, initial=checkpoint(first)), second)

    assert facts.total_tokens == before.total_tokens + facts.tokens_seen
    assert facts.data_seed != before.data_seed
    assert curve(second, "train/loss")[1] < 0.8 * curve(first, "train/loss")[1]


def test_another_seed_gives_other_weights(sample: SampleInputs, tmp_path: Path) -> None:
    found = set[str]()
    for seed in (1, 2):
        context = make_context(tmp_path / str(seed))
        run(configured(sample, seed=seed, tokens=512), inputs_of(sample), context)
        found.add(digests(context.out)["model.safetensors"])
    assert len(found) == 2


def test_names_what_does_not_belong_together(sample: SampleInputs, tmp_path: Path) -> None:
    small = sample.shape.model_copy(update={"vocab_size": 100})
    with pytest.raises(BadInput, match=r"set sample\.model\.vocab_size=268"):
        run(configured(sample, model=small), inputs_of(sample), make_context(tmp_path / "v"))

    first = make_context(tmp_path / "first")
    run(configured(sample, tokens=256), inputs_of(sample), first)
    initial = checkpoint(first)
    wide = sample.shape.model_copy(update={"mlp": 64})
    with pytest.raises(BadInput, match=r"model\.mlp is 64, but the checkpoint of step before has"):
        run(
            configured(sample, model=wide),
            inputs_of(sample, initial=initial),
            make_context(tmp_path / "w"),
        )

    lineage = first.out / "strata.json"
    lineage.write_text(lineage.read_text().replace('digest": "', 'digest": "0'))
    with pytest.raises(BadInput, match="trained with tokenizer"):
        run(configured(sample), inputs_of(sample, initial=initial), make_context(tmp_path / "t"))
