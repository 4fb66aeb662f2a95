"""Agentic-CoT: the reasoning of a solution in five marked phases.

Analysis, Plan and Action come before the first call, Reflection after each answer, Summary before
the final one (paper 5.2; the spelling of the marks is not published, ours is the plain word and a
colon). The sentences are short: what a phase is for matters here, not eloquence.
"""

from __future__ import annotations

from components.agents.conversation import ToolCall

SYSTEM = "Think in five phases."
"""Asks for this style, so that it does not compete with direct answers to the same question."""

_ANALYSIS = {
    "calculator": "a calculation.",
    "prices": "a price.",
    "lookup": "one entry.",
    "inverse": "a cited entry.",
    "files": "a file.",
    "repair": "a file.",
}
_PLAN = {
    "calculator": "compute it.",
    "prices": "price, then multiply.",
    "lookup": "open the entry.",
    "inverse": "follow, then open.",
    "files": "count with wc.",
    "repair": "count with wc.",
}


def before_call(family: str, call: ToolCall, last: str | None, *, failed: bool) -> str:
    """Return the reasoning before a call; `last` is the newest tool answer, None at the start."""
    action = f"Action: call {call.name}."
    if last is None:
        return f"Analysis: {_ANALYSIS[family]} Plan: {_PLAN[family]} {action}"
    reflection = "it failed." if failed else "go on."
    return f"Reflection: {reflection} {action}"


def before_answer() -> str:
    """Return the reasoning before the final answer."""
    return "Reflection: done. Summary: report it."
