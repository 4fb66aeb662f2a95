"""Scores and gains, read back from what the sample home's evaluations wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dashboards import checkpoint_scores
from dashboards.checkpoint_scores import Score
from tests.dashboards.sample_home import CHECKPOINTS, SampleHome, run_id


def test_scores_of_a_run_in_the_order_of_its_steps(sample: SampleHome) -> None:
    scores = checkpoint_scores.scores_of_run(sample.catalog, sample.store, run_id("a"))
    assert tuple(of_one.checkpoint for of_one in scores) == CHECKPOINTS
    agent = scores[-1].values["success/greedy"]
    assert (agent.value, agent.n) == (pytest.approx(0.853), 1000)
    assert agent.low < agent.value < agent.high
    assert checkpoint_scores.scores_of_run(sample.catalog, sample.store, run_id("e")) == ()


def test_read_scores_leaves_out_what_was_not_measured(tmp_path: Path) -> None:
    assert checkpoint_scores.read_scores(tmp_path) == {}
    entry = {"value": None, "n": 0, "low": None, "high": None}
    nothing = {"value": float("nan"), "n": 0, "low": float("nan"), "high": float("nan")}
    (tmp_path / "scores.json").write_text(json.dumps({"recovery": entry, "planning": nothing}))
    assert checkpoint_scores.read_scores(tmp_path) == {}


def test_paired_difference_by_hand() -> None:
    before = {"a": 0.0, "b": 0.0, "c": 1.0, "d": 0.0, "only": 1.0}
    after = {"a": 1.0, "b": 0.0, "c": 1.0, "d": 1.0}
    found = checkpoint_scores.paired_difference(before, after)
    assert found is not None
    assert (found.value, found.n) == (0.5, 4)
    assert found.high - found.value == pytest.approx(1.959964 * (1 / 3) ** 0.5 / 2)
    assert checkpoint_scores.paired_difference({"a": 1.0}, {"a": 0.0}) is None


def test_gains_compare_each_checkpoint_with_the_one_before(sample: SampleHome) -> None:
    gains = checkpoint_scores.gains_of_run(sample.catalog, sample.store, run_id("a"))
    last = {gain.score: gain for gain in gains if gain.checkpoint == "agent"}
    assert last["success/greedy"].before == "assistant"
    assert last["success/greedy"].difference.value == pytest.approx(0.112, abs=0.005)
    assert last["success/sampled"].difference.n == 1000


def test_score_rows_are_flat() -> None:
    scores = [
        checkpoint_scores.CheckpointScores("agent", "k", {"planning": Score(0.5, 10, 0.2, 0.8)})
    ]
    assert checkpoint_scores.score_rows({"r": scores}) == [
        {
            "run": "r",
            "checkpoint": "agent",
            "score": "planning",
            "value": 0.5,
            "n": 10,
            "low": 0.2,
            "high": 0.8,
        }
    ]
