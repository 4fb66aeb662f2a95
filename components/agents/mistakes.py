"""Wrong actions on purpose: what a careless agent writes instead of the right call.

Trajectories use them for branches that fail and recover, benchmarks for wrong choices. Each is a
slip that can really happen (a misread digit, another operator, a tool that does not exist), so what
the tool answers is the natural consequence.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from components.agents.conversation import ToolCall

OPERATORS = "+-*"


def misreadings(text: str, rng: Random) -> Iterator[str]:
    """Yield four texts like `text` with one character changed, a digit for a digit."""
    places = [place for place, letter in enumerate(text) if letter.isdigit()]
    places = places or [place for place, letter in enumerate(text) if letter.isalpha()]
    for _ in range(4 if places else 0):
        place = rng.choice(places)
        kin = "0123456789" if text[place].isdigit() else "abcdefghijklmnopqrstuvwxyz"
        letter = rng.choice([other for other in kin if other != text[place].lower()])
        yield text[:place] + letter + text[place + 1 :]


def spoil(call: ToolCall, rng: Random) -> tuple[ToolCall, str]:
    """Return a wrong call made from a right one, and the name of the mistake."""
    argument, value = next(iter(call.arguments.items()))
    kinds = ["wrong_argument", "wrong_argument", "unknown_tool", "missing_argument"]
    if call.name == "calc":
        kinds.append("wrong_operator")
    if call.name == "bash":
        kinds.append("wrong_program")
    kind = rng.choice(kinds)
    if kind == "unknown_tool":
        return ToolCall(rng.choice(("get", "run", "find")), {argument: value}), kind
    if kind == "missing_argument":
        return ToolCall(call.name, {}), kind
    if kind == "wrong_program":
        program, _, rest = str(value).partition(" ")
        return ToolCall(call.name, {argument: f"{program[::-1]} {rest}"}), kind
    if kind == "wrong_operator":
        right = next((letter for letter in str(value) if letter in OPERATORS), "*")
        wrong = rng.choice([letter for letter in OPERATORS if letter != right])
        return ToolCall(call.name, {argument: str(value).replace(right, wrong, 1)}), kind
    wrong_value = next(misreadings(str(value), rng), f"{value}0")
    return ToolCall(call.name, {argument: wrong_value}), kind
