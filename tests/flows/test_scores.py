from __future__ import annotations

import json

import pytest

from flows.scores import CheckpointScores, Score, gains, paired_gain, read_scores, score_tables


def test_a_paired_gain_is_judged_item_by_item():
    before = {str(i): float(i % 2) for i in range(100)}
    after = dict.fromkeys(before, 1.0)
    gain = paired_gain(before, after)
    assert gain is not None
    assert (gain.value, gain.n) == (0.5, 100)
    # standard deviation of fifty ones and fifty zeros is 0.5025, over the root of 100, times 1.96
    assert gain.low == pytest.approx(0.5 - 0.0985, abs=1e-4)
    assert gain.high == pytest.approx(0.5 + 0.0985, abs=1e-4)


def test_items_that_only_one_scored_do_not_count():
    gain = paired_gain({"a": 0, "b": 0, "x": 1}, {"a": 1, "b": 1, "y": 0})
    assert gain == Score(1.0, 2, 1.0, 1.0)
    assert paired_gain({"a": 0}, {"b": 1}) is None


def checkpoint(name: str, value: float) -> CheckpointScores:
    scores = {
        "success/greedy": Score(value, 100, value - 0.1, value + 0.1),
        "bits_per_byte/code": Score(2.5, 9, 2.4, 2.6),
    }
    items = {"success/greedy": {str(i): float(i < 100 * value) for i in range(100)}}
    return CheckpointScores(name, scores, items)


def test_the_tables_show_scores_gains_and_intervals():
    rows = [checkpoint("agentic_base", 0.4), checkpoint("assistant", 0.6)]
    assert gains(rows, "success/greedy")["assistant"].value == pytest.approx(0.2)
    text = score_tables(rows)
    assert "60.0 % (50.0–70.0)" in text
    assert "+20.0 (+12.1 to +27.9)" in text
    assert "2.500 (2.40–2.60)" in text
    assert "recovery" not in text
    assert score_tables([]) == ""


def test_scores_are_read_from_the_artifact(tmp_path):
    table = {"planning": {"value": 0.5, "n": 2, "low": 0.1, "high": 0.9, "extra": 1}}
    (tmp_path / "scores.json").write_text(json.dumps(table))
    lines = [{"score": "planning", "id": i, "value": i} for i in (0, 1)]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, lines)))
    read = read_scores("agent", tmp_path)
    assert read.scores == {"planning": Score(0.5, 2, 0.1, 0.9)}
    assert read.items == {"planning": {"0": 0.0, "1": 1.0}}
