"""Five phases in their order."""

from __future__ import annotations

from components.agents.conversation import ToolCall
from components.trajectories.agentic_cot import before_answer, before_call

CALL = ToolCall("calc", {"e": "1 + 1"})


def test_the_first_call_follows_analysis_and_plan() -> None:
    text = before_call("calculator", CALL, None, failed=False)
    assert text == "Analysis: a calculation. Plan: compute it. Action: call calc."


def test_a_failure_is_reflected_upon() -> None:
    good = before_call("prices", CALL, "31", failed=False)
    bad = before_call("prices", CALL, "error", failed=True)
    assert good.startswith("Reflection: go on.")
    assert bad.startswith("Reflection: it failed.")
    assert before_answer().split()[0] == "Reflection:"
    assert "Summary:" in before_answer()
