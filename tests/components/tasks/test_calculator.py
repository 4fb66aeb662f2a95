"""Arithmetic tasks: distinct, in their split, with the right answer."""

from __future__ import annotations

from itertools import islice

from components.tasks.calculator import calculator_tasks
from components.tasks.splits import split_of


def test_answers_are_right_and_sources_belong_to_the_split() -> None:
    for phrasing in ("keys", "words"):
        for task in islice(calculator_tasks("test", 0, phrasing, 3), 60):
            a, b, operator = (task.world[name] for name in ("a", "b", "operator"))
            expected = {"+": a + b, "-": a - b, "*": a * b}[operator]
            assert task.answer == str(expected)
            assert split_of(task.source) == "test"
            assert str(a) in task.question
            assert str(b) in task.question


def test_few_digits_run_out_instead_of_looping_for_ever() -> None:
    tasks = list(calculator_tasks("dev", 0, "keys", 1))
    expressions = [task.steps[0].arguments["e"] for task in tasks]
    assert 100 < len(tasks) < 400
    assert len(set(expressions)) == len(expressions)
