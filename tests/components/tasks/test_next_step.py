"""One-step benchmarks: the exact first call, and the right next action of four."""

from __future__ import annotations

from components.agents.conversation import Message
from components.artifacts.types import Tasks
from components.tasks.task import read_tasks


def test_function_call_items_ask_for_the_first_step_of_test_tasks(made: Tasks) -> None:
    tests = {task["question"]: task for task in read_tasks(made.split("test"))}
    items = list(read_tasks(made.benchmark("function_call")))
    assert len(items) == 30
    for item in items:
        assert item["answer"] == tests[item["messages"][0]["content"]]["steps"][0]


def test_planning_items_have_one_right_action_of_four(made: Tasks) -> None:
    items = list(read_tasks(made.benchmark("planning")))
    tests = {task["question"]: task for task in read_tasks(made.split("test"))}
    assert len(items) == 40
    assert {item["step"] for item in items} >= {0, 1}
    for item in items:
        choices = [Message.from_json(choice) for choice in item["choices"]]
        assert len(choices) == 4
        assert all(choices.count(choice) == 1 for choice in choices)
        task = tests[item["messages"][0]["content"]]
        right = choices[item["answer"]]
        if item["step"] < len(task["steps"]):
            assert right.tool_calls[0].to_json() == task["steps"][item["step"]]
        else:
            assert right.content == task["answer"]
        assert len(item["messages"]) == 1 + 2 * item["step"]
