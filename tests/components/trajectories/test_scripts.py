"""The teacher reads tool answers; it never sees the stored answer."""

from __future__ import annotations

from components.agents.conversation import ToolCall
from components.trajectories.scripts import SCRIPTS


def test_files_takes_the_name_from_the_error() -> None:
    task = {"world": {"asked": "901", "measure": "lines"}}
    script = SCRIPTS["repair"]
    assert script(task, []) == ToolCall("bash", {"c": "wc -l 901"})
    error = "wc: 901: No such file or directory; have 901.csv, 901.md"
    assert script(task, [error]) == ToolCall("bash", {"c": "wc -l 901.csv"})
    assert script(task, [error, "12 901.csv"]) == "12"


def test_research_searches_when_only_a_title_is_known() -> None:
    task = {"world": {"title": "red fox"}}
    script = SCRIPTS["inverse"]
    assert script(task, []) == ToolCall("search", {"q": "red fox"})
    assert script(task, ["111 red fox; 222 x"]) == ToolCall("cites", {"k": "111"})
    assert script(task, ["111 red fox", "222 333"]) == ToolCall("open", {"k": "222"})
    assert script(task, ["111 red fox", "222 333", "animal: fox"]) == "animal"
