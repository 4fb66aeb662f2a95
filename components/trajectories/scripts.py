"""The scripted teacher: for each family, the next action from the question's facts and the tools'
answers.

A script never sees the stored answer or the reference calls. It reads what the tools said, as a
model has to, so a wrong table or a changed tool shows up as a failed verification.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.agents.conversation import ToolCall

Action = ToolCall | str
"""The next call, or the final answer."""
Script = Callable[[Mapping[str, Any], Sequence[str]], Action]

_FLAGS = {"bytes": "-c", "lines": "-l", "words": "-w"}
_HINT = re.compile(r"; have ([^,\s]+)")


def calculator(task: Mapping[str, Any], answers: Sequence[str]) -> Action:
    """Compute the expression in one call."""
    if answers:
        return answers[-1]
    world = task["world"]
    return ToolCall("calc", {"e": f"{world['a']} {world['operator']} {world['b']}"})


def prices(task: Mapping[str, Any], answers: Sequence[str]) -> Action:
    """Look the price up, then multiply it."""
    if not answers:
        return ToolCall("price", {"k": task["world"]["key"]})
    if len(answers) == 1:
        return ToolCall("calc", {"e": f"{answers[0]} * {task['world']['number']}"})
    return answers[-1]


def lookup(task: Mapping[str, Any], answers: Sequence[str]) -> Action:
    """Find the entry by its key, or by a search where the question has words only; read its
    class.
    """
    key, found = _key_of(task, answers)
    if key is None:
        return ToolCall("search", {"q": task["world"]["title"]})
    if not found:
        return ToolCall("open", {"k": key})
    return found[-1].partition(":")[0]


def inverse(task: Mapping[str, Any], answers: Sequence[str]) -> Action:
    """Follow the entry's reference and read the class of what it cites."""
    key, found = _key_of(task, answers)
    if key is None:
        return ToolCall("search", {"q": task["world"]["title"]})
    if not found:
        return ToolCall("cites", {"k": key})
    if len(found) == 1:
        return ToolCall("open", {"k": found[0].split()[0]})
    return found[-1].partition(":")[0]


def _key_of(task: Mapping[str, Any], answers: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """Return the entry's key, from the question or from a search, and the answers after that."""
    if "title" not in task["world"]:
        return task["world"]["key"], answers
    return (answers[0].split()[0], answers[1:]) if answers else (None, answers)


def files(task: Mapping[str, Any], answers: Sequence[str]) -> Action:
    """Count with `wc`; where the name is not complete, take it from the error."""
    flag, name = _FLAGS[task["world"]["measure"]], task["world"]["asked"]
    if not answers:
        return ToolCall("bash", {"c": f"wc {flag} {name}"})
    hint = _HINT.search(answers[-1])
    if hint:
        return ToolCall("bash", {"c": f"wc {flag} {hint.group(1)}"})
    return answers[-1].split()[0]


SCRIPTS: dict[str, Script] = {
    "calculator": calculator,
    "prices": prices,
    "lookup": lookup,
    "inverse": inverse,
    "files": files,
    "repair": files,
}
