"""Search, open and cites over a few entries."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.agents.conversation import ToolCall
from components.agents.environment import Entry, World
from components.agents.environments.lookup import LookupEnvironment

WORLD = World(
    {
        "111": Entry("111", "red fox", "animal", "", ("222",)),
        "222": Entry("222", "fox", "animal", "", ()),
        "333": Entry("333", "foxglove", "plant", "", ("111", "222")),
        "100": Entry("100", "fox hunt", "act", "", ()),
    },
    {},
    Path("nowhere"),
)


@pytest.mark.parametrize(
    ("name", "arguments", "text", "failed"),
    [
        ("open", {"k": "111"}, "animal: red fox", False),
        ("open", {"k": " 111 "}, "animal: red fox", False),
        ("open", {"k": "999"}, "error: no entry 999", True),
        ("open", {}, 'error: open needs "k"', True),
        ("open", {"k": 111}, 'error: open needs "k"', True),
        ("cites", {"k": "333"}, "111 222", False),
        ("cites", {"k": "222"}, "error: entry 222 cites nothing", True),
        ("search", {"q": "FOX"}, "222 fox; 100 fox hunt; 111 red fox", False),
        ("search", {"q": "red fox"}, "111 red fox", False),
        ("search", {"q": "red wolf"}, "error: nothing found for red wolf", True),
        ("search", {"q": ""}, "error: nothing found for ", True),
        ("calc", {"e": "1"}, "error: unknown tool, have search, open, cites", True),
    ],
)
def test_answers(name: str, arguments: dict, text: str, failed: bool) -> None:
    result = LookupEnvironment("animal", WORLD).execute(ToolCall(name, arguments))
    assert (result.text, result.failed, result.infrastructure) == (text, failed, False)


def test_check() -> None:
    environment = LookupEnvironment("animal", WORLD)
    assert environment.check("Animal")
    assert not environment.check("plant")
    environment.close()
