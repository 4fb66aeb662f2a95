"""Which curves stand in which panel."""

from __future__ import annotations

from dashboards import panels
from dashboards.journals import Curve
from dashboards.queries import run_detail
from tests.dashboards.sample_home import SampleHome, run_id

POINTS = ((1, 1.0), (2, 0.5))
STEPS = {
    "corpus": [],
    "stem": [Curve("stem", "perf/tokens", POINTS), Curve("stem", "train/loss", POINTS)],
    "agent": [Curve("agent", "rl/reward", POINTS), Curve("agent", "train/loss", POINTS)],
}


def test_main_metric_is_loss_or_reward() -> None:
    found = panels.panels(STEPS, panels.MAIN)
    assert {step: curve.metric for step, curve in found.items()} == {
        "stem": "train/loss",
        "agent": "rl/reward",
    }
    assert list(panels.panels(STEPS, "perf/tokens")) == ["stem"]


def test_metric_names_by_how_many_steps_have_them() -> None:
    assert panels.metric_names(STEPS) == [panels.MAIN, "train/loss", "perf/tokens", "rl/reward"]
    assert panels.metric_names({"corpus": []}) == []


def test_overlay_groups_by_step() -> None:
    grouped = panels.overlay({"x": STEPS, "y": {"agent": STEPS["agent"]}}, "train/loss")
    assert {step: list(runs) for step, runs in grouped.items()} == {
        "stem": ["x"],
        "agent": ["x", "y"],
    }


def test_shared_steps_have_one_key(sample: SampleHome) -> None:
    runs = [run_detail(sample.catalog, run_id(v)).steps for v in ("a", "b")]
    shared = panels.shared_steps(runs)
    assert "assistant" in shared
    assert "agent" not in shared
    assert panels.shared_steps([]) == set()
