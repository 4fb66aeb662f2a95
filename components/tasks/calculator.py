"""Arithmetic that takes one call of the calculator: the family `calculator`."""

from __future__ import annotations

from collections.abc import Iterator

from components.agents.conversation import ToolCall
from components.agents.environments.calculator import evaluate
from components.tasks.splits import draws, split_of
from components.tasks.task import Task

QUESTIONS = ("What is {e}?", "How much is {e}?")
STORIES = {
    "*": (
        "A crate holds {b} parts. How many parts are in {a} crates?",
        "Each of {a} rooms has {b} seats. How many seats are there?",
    ),
    "+": (
        "A library owns {a} books and buys {b} more. How many does it own now?",
        "One train carries {a} people, another {b}. How many people travel?",
    ),
    "-": (
        "Of {a} tickets {b} are sold. How many are left?",
        "A road is {a} km long and {b} km are repaired. How many are not?",
    ),
}
_MOST_TRIES = 50
"""Draws a task may take: the rarest split holds 8 % of the pairs."""


def calculator_tasks(split: str, seed: int, phrasing: str, digits: int) -> Iterator[Task]:
    """Yield tasks over operand pairs of one split: a number of `digits` digits and one of two.

    Ends when new pairs become rare.
    """
    rng = draws(seed, "calculator", split)
    seen: set[str] = set()
    misses = 0
    while misses < 1000 * _MOST_TRIES:
        a = rng.randrange(10 ** (digits - 1), 10**digits)
        b = rng.randrange(10, 100)
        operator = rng.choice("*+-")
        source = f"operands:{a},{b}"
        expression = f"{a} {operator} {b}"
        wording = rng.choice(QUESTIONS if phrasing == "keys" else STORIES[operator])
        if split_of(source) != split or expression in seen:
            misses += 1
            continue
        misses = 0
        seen.add(expression)
        yield Task(
            family="calculator",
            environment="calculator",
            split=split,
            question=wording.format(e=expression, a=a, b=b),
            answer=evaluate(expression),
            source=source,
            steps=(ToolCall("calc", {"e": expression}),),
            world={"a": a, "b": b, "operator": operator},
        )
