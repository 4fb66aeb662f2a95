import json
from pathlib import Path

from components.artifacts.types import Scores
from components.export.config import ExportConfig
from components.export.model_card import model_card, read_scores, score_table
from components.model.config import ModelConfig


def scores(directory: Path, step: str, success: float) -> Scores:
    directory.mkdir()
    table = {
        "success/greedy": {"value": success, "n": 250, "low": success - 0.05, "high": 0.9},
        "bits_per_byte/code": {"value": 2.7, "n": 40, "low": 2.6, "high": 2.8},
    }
    (directory / "scores.json").write_text(json.dumps(table))
    return Scores(directory, step, "", "")


def test_the_card_holds_the_runs_own_figures(tmp_path: Path) -> None:
    table = read_scores(
        [
            scores(tmp_path / "a", "scores.assistant", 0.728),
            scores(tmp_path / "b", "scores.agent", 0.824),
        ]
    )
    card = model_card(
        ExportConfig(name="tiny", license="mit"),
        ModelConfig().to_hf(),
        {"parameters": 660_000, "tokens_seen": 2_000_000},
        table,
        {"checkpoint `agent`": "d" * 64},
    )
    assert card.startswith("---\nlicense: mit\n")
    assert "| score | assistant | agent |" in card
    assert (
        "| `success/greedy` | 72.8 % (67.8–90.0), n = 250 | 82.4 % (77.4–90.0), n = 250 |" in card
    )
    assert "2.700 (2.600–2.800)" in card
    assert "660,000" in card
    assert "2,000,000" in card
    assert "d" * 64 in card


def test_the_card_says_whether_prompts_describe_the_tools() -> None:
    for describe, says in ((True, "give them as `tools`"), (False, "no `tools`")):
        config = ExportConfig(describe_tools=describe)
        card = model_card(
            config, ModelConfig().to_hf(), {"parameters": 1, "tokens_seen": 1}, {}, {}
        )
        assert says in card


def test_a_score_missing_at_one_step_is_a_dash(tmp_path: Path) -> None:
    table = read_scores([scores(tmp_path / "a", "x", 0.5), scores(tmp_path / "b", "y", 0.5)])
    del table["y"]["success/greedy"]
    assert "50.0 % (45.0–90.0), n = 250 | – |" in score_table(table)
    assert "No scores" in score_table({})
