"""How an address names a choice."""

from __future__ import annotations

from dashboards.controls import named


def test_an_option_is_named_whole_before_by_its_beginning() -> None:
    steps = ["all steps", "agentic_base", "agent"]
    assert named(steps, "agent") == 2
    assert named(steps, "agentic") == 1
    assert named(steps, "") == 0
    assert named(steps, "unknown") == 0
