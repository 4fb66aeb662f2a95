"""A journal as lines: numbers of a step once, progress only where nothing else tells it."""

from __future__ import annotations

from components.tracking.log_lines import log_lines


def test_a_step_is_one_line_and_progress_without_steps_is_told() -> None:
    records = [
        {"time": 0.0, "kind": "progress", "done": 2, "total": 6, "unit": "sources"},
        {
            "time": 0.0,
            "kind": "metric",
            "step": 3,
            "values": {"train/loss": 7.86249, "tokens": 6e3},
        },
        {"time": 0.0, "kind": "progress", "done": 3, "total": 20, "unit": "steps"},
        {"time": 0.0, "kind": "log", "message": "saved"},
        {"time": 0.0, "kind": "event", "name": "resumed", "step": 3},
        {"time": 0.0, "kind": "unknown"},
    ]
    assert [line.split("  ", 1)[1] for line in log_lines(records)] == [
        "2 of 6 sources",
        "step 3  train/loss 7.862  tokens 6000",
        "saved",
        "[resumed] step=3",
    ]
