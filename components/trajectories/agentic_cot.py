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
    "prices": "a price and a quantity.",
    "lookup": "the class of an entry.",
    "inverse": "the class of a cited entry.",
    "files": "the size of a file.",
    "repair": "the size of a file.",
}
_PLAN = {
    "calculator": "compute it.",
    "prices": "find the price, then multiply.",
    "lookup": "open the entry.",
    "inverse": "follow the reference, then open it.",
    "files": "count with wc.",
    "repair": "count with wc.",
}


def before_call(family: str, call: ToolCall, last: str | None, *, failed: bool) -> str:
    """Return the reasoning before a call; `last` is the newest tool answer, None at the start."""
    action = f"Action: call {call.name}."
    if last is None:
        return f"Analysis: {_ANALYSIS[family]} Plan: {_PLAN[family]} {action}"
    reflection = "that did not work." if failed else "one step is done."
    return f"Reflection: {reflection} {action}"


def before_answer() -> str:
    """Return the reasoning before the final answer."""
    return "Reflection: the result is there. Summary: report it."
