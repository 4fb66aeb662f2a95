"""The recipe `ci` from an empty home: what it answers, what it leaves, and that it is done once."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from components.artifacts.manifest import Manifest
from components.artifacts.types import DOMAINS
from components.tracking.journal import metric_points
from tests.end_to_end.conftest import CiRun

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

KEYS = {
    "run_id", "recipe", "seconds", "executed", "cached", "scores", "final_digest", "export_dir",
}  # fmt: skip
CHECKPOINTS = ["commonsense", "stem", "long_context", "agentic_base", "assistant", "agent"]
STEPS = {
    "corpus", "tokenizer", "tasks", "shards", "trajectories", "release",
    *CHECKPOINTS, *(f"scores.{checkpoint}" for checkpoint in CHECKPOINTS),
}  # fmt: skip
WITH_MODULES = """
import json, sys
from flows.cli import main
code = main()
print(json.dumps(sorted(sys.modules)))
sys.exit(code)
"""


def curve(ci: CiRun, step: str, name: str) -> list[float]:
    journals = [attempt.journal for attempt in ci.home.attempts(step)]
    return [point.value for point in metric_points(journals) if point.name == name]


def test_the_last_line_is_the_whole_answer(ci: CiRun) -> None:
    answer = ci.answer.last_line
    assert set(answer) == KEYS
    assert answer["recipe"] == "ci"
    assert answer["run_id"] == ci.home.run.id
    assert set(answer["executed"]) == STEPS
    assert answer["cached"] == []
    assert 0 < answer["seconds"] < ci.seconds
    assert answer["final_digest"] == ci.home.manifest("release").digest
    assert Path(answer["export_dir"]).is_dir()


def test_every_checkpoint_is_scored_with_n_and_interval(ci: CiRun) -> None:
    scores = ci.answer.last_line["scores"]
    assert list(scores) == CHECKPOINTS
    for checkpoint, tasks in scores.items():
        assert {"success/greedy", "bits_per_byte/general", "function_call"} <= set(tasks)
        for name, score in tasks.items():
            assert set(score) == {"value", "n", "low", "high"}, (checkpoint, name)
            assert score["n"] > 0, (checkpoint, name)
            assert score["low"] <= score["value"] <= score["high"], (checkpoint, name)


def test_every_step_has_an_artifact_as_its_manifest_says(ci: CiRun) -> None:
    store = ci.home.store
    manifests: dict[str, Manifest] = {step: ci.home.manifest(step) for step in STEPS}
    assert set(ci.home.run.steps) == STEPS
    digests = {manifest.key: manifest.digest for manifest in manifests.values()}
    for step, manifest in manifests.items():
        assert store.damaged(manifest) == [], step
        assert manifest.step == step
        assert {record.key: record.digest for record in manifest.inputs}.items() <= digests.items()


@pytest.mark.parametrize("step", ["commonsense", "stem", "long_context"])
def test_loss_on_held_out_text_falls_in_pre_training(ci: CiRun, step: str) -> None:
    """A batch of `ci` is eight sequences: from one to the next its own loss says little."""
    domains = [curve(ci, step, f"eval/bits_per_byte/{domain}") for domain in DOMAINS]
    losses = [sum(at) / len(DOMAINS) for at in zip(*domains, strict=True)]
    assert len(losses) > 1
    assert losses[-1] < losses[0], losses


@pytest.mark.parametrize("step", ["agentic_base", "assistant"])
def test_loss_on_conversations_falls_in_training_on_them(ci: CiRun, step: str) -> None:
    losses = curve(ci, step, "train/loss")
    part = len(losses) // 4
    assert part > 0
    assert sum(losses[-part:]) < sum(losses[:part]), losses


def test_the_agent_is_rewarded(ci: CiRun) -> None:
    """The loss of RL is no measure of what it learns, and six steps are no proof of a gain."""
    rewards = curve(ci, "agent", "rl/reward")
    assert len(rewards) == ci.home.manifest("agent").facts["steps"]
    assert max(rewards) > 0


def test_tools_are_learned(ci: CiRun) -> None:
    assistant = ci.answer.last_line["scores"]["assistant"]
    assert assistant["parsed/greedy"]["value"] >= 0.90
    assert assistant["success/greedy"]["value"] >= 0.35


def test_the_release_loads_and_speaks(ci: CiRun) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = ci.answer.last_line["export_dir"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is 2 + 3?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    written = model.generate(**asked, max_new_tokens=4, do_sample=False)
    assert type(model).__name__ == "YoutuForCausalLM"
    assert written.shape[1] > asked["input_ids"].shape[1]
    assert (Path(folder) / "README.md").is_file()


def test_the_second_call_answers_in_seconds_without_torch_or_prefect(ci: CiRun) -> None:
    started = time.monotonic()
    again = ci.home.strata(
        "run", "ci", "--json", program=(sys.executable, "-P", "-c", WITH_MODULES)
    )
    seconds = time.monotonic() - started
    *_, answer_line, modules_line = again.out.splitlines()
    answer, loaded = json.loads(answer_line), set(json.loads(modules_line))
    first = ci.answer.last_line
    assert answer["executed"] == []
    assert set(answer["cached"]) == STEPS
    same = ("run_id", "recipe", "scores", "final_digest", "export_dir")
    assert {name: answer[name] for name in same} == {name: first[name] for name in same}
    assert not loaded & {"torch", "prefect", "mlflow", "daft", "transformers"}
    assert seconds < 15, f"{seconds:.1f} s"
