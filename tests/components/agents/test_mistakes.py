"""Mistakes are always wrong, repeatable and of known kinds."""

from __future__ import annotations

from random import Random

from components.agents.conversation import ToolCall
from components.agents.mistakes import misreadings, spoil

CALLS = (
    ToolCall("calc", {"e": "823 * 46"}),
    ToolCall("open", {"k": "007"}),
    ToolCall("bash", {"c": "wc -c 901.csv"}),
    ToolCall("search", {"q": "red fox"}),
    ToolCall("search", {"q": "?"}),
)


def test_a_spoiled_call_differs() -> None:
    kinds: set[str] = set()
    for number in range(300):
        call = CALLS[number % len(CALLS)]
        wrong, kind = spoil(call, Random(number))
        assert wrong != call
        assert (wrong, kind) == spoil(call, Random(number))
        kinds.add(kind)
    assert kinds == {
        "wrong_argument",
        "unknown_tool",
        "missing_argument",
        "wrong_operator",
        "wrong_program",
    }


def test_misreadings_change_one_character() -> None:
    for text in ("823 * 46", "animal", "901.csv"):
        for wrong in misreadings(text, Random(0)):
            assert len(wrong) == len(text)
            assert sum(a != b for a, b in zip(wrong, text, strict=True)) == 1
    assert not list(misreadings("...", Random(0)))
