"""Every environment describes the tools it serves."""

from __future__ import annotations

from pathlib import Path

from components.agents.conversation import ToolCall
from components.agents.environment import World, open_environment
from components.agents.tools import TOOLS, argument_of, tools_of


def test_every_described_tool_is_served() -> None:
    world = World({}, {}, Path("nowhere"))
    for name in TOOLS:
        if name == "files":
            continue
        environment = open_environment({"environment": name, "answer": "1"}, world)
        served = [tool["function"]["name"] for tool in tools_of(name)]
        for tool in served:
            assert "unknown tool" not in environment.execute(ToolCall(tool, {})).text
        said = environment.execute(ToolCall("other", {}))
        assert said.failed
        assert said.text == f"error: unknown tool, have {', '.join(served)}"


def test_arguments_are_strings_or_missing() -> None:
    assert argument_of(ToolCall("calc", {"e": "1"}), "e") == "1"
    assert argument_of(ToolCall("calc", {"e": 1}), "e") is None
    assert argument_of(ToolCall("calc", {}), "e") is None
