import json
from pathlib import Path

import pytest

from components.contract import BadInput, Resources, Stopped
from components.model.weights import read_strata
from components.rl.config import RlConfig, RlInputs
from components.rl.stage import run
from components.tracking.journal import metric_points, read_journal
from tests.small_agent import SmallAgent, context, small_agent

CONFIG = RlConfig(
    steps=8,
    groups_per_step=4,
    group_size=8,
    learning_rate=3e-4,
    max_turns=3,
    max_tokens=150,
    max_turn_tokens=70,
)


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> SmallAgent:
    """A model that knows the calls by heart but gives the right answer half of the time only."""
    return small_agent(tmp_path_factory.mktemp("agent"), wrong_share=0.5)


def inputs(agent: SmallAgent) -> RlInputs:
    return RlInputs(initial=agent.checkpoint, tasks=agent.tasks, tokenizer=agent.tokenizer)


def weights(directory: Path) -> bytes:
    return (directory / "out" / "model.safetensors").read_bytes()


def test_sampled_success_rises(agent: SmallAgent, tmp_path: Path) -> None:
    facts = run(CONFIG, inputs(agent), context(tmp_path))
    assert facts.reward_first < 0.6
    assert facts.reward_last > 0.8
    assert facts.parsed_call_share > 0.8
    assert facts.rollouts == 8 * 4 * 8
    assert facts.infrastructure_failures == 0
    before, after = read_strata(agent.checkpoint.path), read_strata(tmp_path / "out")
    assert after["tokens_seen"] == before["tokens_seen"] + facts.sampled_tokens
    assert after["steps"] > before["steps"]
    names = {point.name for point in metric_points([tmp_path / "journal"])}
    assert names >= {
        "rl/reward",
        "rl/live_groups",
        "rl/parsed_calls",
        "rl/success",
        "rl/clip_fraction",
        "rl/trainer_sampler_gap",
        "train/loss",
    }


def test_an_interrupted_run_writes_the_bytes_of_an_undisturbed_one(
    agent: SmallAgent, tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"steps": 5, "recovery_share": 0.5})
    whole = run(config, inputs(agent), context(tmp_path / "whole"))
    asked = iter([False, False, True])
    first = context(tmp_path / "first", stop_requested=lambda: next(asked))
    with pytest.raises(Stopped):
        run(config, inputs(agent), first)
    assert not (first.out / "model.safetensors").exists()
    second = context(tmp_path / "second", earlier=(first.resume,))
    assert run(config, inputs(agent), second) == whole
    assert weights(tmp_path / "second") == weights(tmp_path / "whole")
    steps = [r["step"] for r in read_journal(tmp_path / "second" / "journal") if "step" in r]
    assert min(step for step in steps if step > 3) == 4
    assert 1 not in steps


def test_resume_points_in_between_change_nothing(agent: SmallAgent, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"steps": 4})
    run(config, inputs(agent), context(tmp_path / "plain"))
    often = Resources(threads=1, resume_seconds=0)
    run(config, inputs(agent), context(tmp_path / "saving", resources=often))
    assert weights(tmp_path / "saving") == weights(tmp_path / "plain")
    assert not list((tmp_path / "plain" / "resume").iterdir())
    kept = sorted(path.name for path in (tmp_path / "saving" / "resume").iterdir())
    assert kept == ["step-00000002", "step-00000003"]


def test_another_seed_makes_another_model(agent: SmallAgent, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"steps": 2})
    run(config, inputs(agent), context(tmp_path / "a"))
    run(config.model_copy(update={"seed": 1}), inputs(agent), context(tmp_path / "b"))
    assert weights(tmp_path / "a") != weights(tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "says"),
    [({"families": ("cooking",)}, "No tasks of cooking"), ({}, "2 processes")],
)
def test_what_cannot_be_trained_is_refused(
    agent: SmallAgent, tmp_path: Path, change: dict[str, object], says: str
) -> None:
    here = context(tmp_path)
    if not change:
        object.__setattr__(here, "world_size", 2)
    with pytest.raises(BadInput, match=says):
        run(CONFIG.model_copy(update=change), inputs(agent), here)


def test_another_tokenizer_is_refused(agent: SmallAgent, tmp_path: Path) -> None:
    strange = tmp_path / "checkpoint"
    strange.mkdir()
    for file in agent.checkpoint.path.iterdir():
        (strange / file.name).write_bytes(file.read_bytes())
    lineage = {"tokenizer_digest": "other", "tokens_seen": 0, "steps": 0}
    (strange / "strata.json").write_text(json.dumps(lineage))
    moved = type(agent.checkpoint)(strange, "assistant", "", "")
    given = inputs(agent).model_copy(update={"initial": moved})
    with pytest.raises(BadInput, match="trained with tokenizer other"):
        run(CONFIG, given, context(tmp_path / "run", resources=Resources(threads=1)))
