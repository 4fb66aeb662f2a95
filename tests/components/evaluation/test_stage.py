import json
from pathlib import Path
from typing import Any

import pytest

from components.artifacts.types import Checkpoint
from components.contract import BadInput
from components.evaluation.config import EvaluateConfig, EvaluateInputs
from components.evaluation.stage import run
from tests.small_agent import SmallAgent, context, small_agent

CONFIG = EvaluateConfig(
    episodes=4,
    sampled_episodes=4,
    text_tokens=200,
    multiple_choice=4,
    function_call=4,
    planning=4,
    recovery=4,
    max_tokens=150,
    max_turn_tokens=70,
    context=16,
)


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> SmallAgent:
    return small_agent(tmp_path_factory.mktemp("agent"))


def inputs(agent: SmallAgent) -> EvaluateInputs:
    return EvaluateInputs(
        checkpoint=agent.checkpoint,
        tasks=agent.tasks,
        shards=agent.shards,
        tokenizer=agent.tokenizer,
    )


def scores(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "out" / "scores.json").read_text())


def test_every_score_is_measured_with_an_interval(agent: SmallAgent, tmp_path: Path) -> None:
    facts = run(CONFIG, inputs(agent), context(tmp_path))
    table = scores(tmp_path)
    assert set(table) == {
        "bits_per_byte/code",
        "bits_per_byte/general",
        "bits_per_byte/stem",
        "function_call",
        "multiple_choice",
        "parsed/greedy",
        "planning",
        "recovery",
        "success/greedy",
        "success/greedy/calculator",
        "success/sampled",
    }
    # It learned these tasks by heart and has never met an error.
    assert table["success/greedy"]["value"] == 1.0
    assert table["function_call"]["value"] == 1.0
    assert table["planning"]["value"] == 1.0
    assert table["parsed/greedy"]["value"] == 1.0
    for name, entry in table.items():
        assert entry["low"] <= entry["value"] <= entry["high"], name
        assert entry["n"] == (3 if name.startswith("bits") else 4), name
    assert facts.scores == {name: entry["value"] for name, entry in table.items()}
    lines = (tmp_path / "out" / "items.jsonl").read_text().splitlines()
    assert facts.items == len(lines) == 4 * 7 + 3 * 3


def test_equal_inputs_give_equal_bytes(agent: SmallAgent, tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(CONFIG, inputs(agent), context(tmp_path / name))
    for file in ("scores.json", "items.jsonl"):
        first, second = ((tmp_path / name / "out" / file).read_bytes() for name in ("a", "b"))
        assert first == second


def test_a_count_of_zero_and_a_split_without_items_leave_scores_out(
    agent: SmallAgent, tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"split": "dev", "text_tokens": 0, "recovery": 0})
    run(config, inputs(agent), context(tmp_path))
    assert set(scores(tmp_path)) == {
        "parsed/greedy",
        "success/greedy",
        "success/greedy/calculator",
        "success/sampled",
    }


def test_another_tokenizer_is_refused(agent: SmallAgent, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    path.mkdir()
    for file in agent.checkpoint.path.iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    lineage = {"tokenizer_digest": "other", "tokens_seen": 0, "steps": 0}
    (path / "strata.json").write_text(json.dumps(lineage))
    strange = Checkpoint(path, "assistant", "", "")
    with pytest.raises(BadInput, match="trained with tokenizer other"):
        run(CONFIG, inputs(agent).model_copy(update={"checkpoint": strange}), context(tmp_path))
