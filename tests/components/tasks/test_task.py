"""A task's id follows from family and question."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from components.agents.conversation import ToolCall
from components.tasks.task import Task, read_tasks, take, write_lines

TASK = Task(
    "calculator",
    "calculator",
    "test",
    "What is 1 + 1?",
    "2",
    "operands:1,1",
    (ToolCall("calc", {"e": "1 + 1"}),),
)


def test_take_drops_equal_questions() -> None:
    other = replace(TASK, question="What is 2 + 2?")
    assert take([TASK, replace(TASK, answer="3"), other], 5) == [TASK, other]
    assert take([TASK, other], 1) == [TASK]


def test_lines_come_back(tmp_path: Path) -> None:
    assert write_lines(tmp_path / "x" / "tasks.jsonl", [TASK.to_json()]) == 1
    assert list(read_tasks(tmp_path / "x" / "tasks.jsonl")) == [TASK.to_json()]
    assert TASK.to_json()["steps"] == [{"name": "calc", "arguments": {"e": "1 + 1"}}]
