"""Two benchmarks of one step: `function_call` (write the first call) and `planning` (choose the
next action of four).

Both are made from tasks of the test split. The tool answers inside a planning item come from
executing the steps before it; only steps of trusted tools are executed here, so a question about
files is asked before its first command.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

from components.agents.conversation import Message, ToolCall
from components.agents.environment import World, open_environment
from components.agents.mistakes import misreadings
from components.agents.tools import tools_of
from components.tasks.splits import draws
from components.tasks.task import Task

CHOICES = 4


def function_call_items(tasks: Iterable[Task], count: int) -> list[dict[str, Any]]:
    """Return up to `count` items {id, family, messages, answer, split}; `answer` is the exact first
    call.
    """
    items: list[dict[str, Any]] = []
    for task in _families_in_turn(tasks):
        if len(items) >= count:
            break
        items.append(
            {
                "id": f"call-{task.id}",
                "family": task.family,
                "messages": [Message("user", task.question).to_json()],
                "answer": task.steps[0].to_json(),
                "split": task.split,
            }
        )
    return items


def planning_items(
    tasks: Iterable[Task], world: World, seed: int, count: int
) -> list[dict[str, Any]]:
    """Return up to `count` items {id, family, messages, choices, answer, split}.

    `choices` are assistant messages and `answer` is the index of the right one.
    """
    items: list[dict[str, Any]] = []
    for task in _families_in_turn(tasks):
        if len(items) >= count:
            break
        items.append(_planning_item(task, world, draws(seed, "planning", task.id)))
    return items


def _families_in_turn(tasks: Iterable[Task]) -> list[Task]:
    by_family: dict[str, list[Task]] = {}
    for task in tasks:
        by_family.setdefault(task.family, []).append(task)
    longest = max((len(group) for group in by_family.values()), default=0)
    groups = list(by_family.values())
    return [group[turn] for turn in range(longest) for group in groups if turn < len(group)]


def _planning_item(task: Task, world: World, rng: Random) -> dict[str, Any]:
    last = 0 if task.environment == "files" else len(task.steps)
    at = rng.randint(0, last)
    messages = [Message("user", task.question)]
    if at:
        environment = open_environment(task.to_json(), world)
        for step in task.steps[:at]:
            messages.append(Message("assistant", tool_calls=(step,)))
            messages.append(Message("tool", environment.execute(step).text))
        environment.close()
    right = (
        Message("assistant", task.answer)
        if at == len(task.steps)
        else Message("assistant", tool_calls=(task.steps[at],))
    )
    choices = [right, *_distractors(task, right, _guess(task, world, rng), rng)]
    rng.shuffle(choices)
    return {
        "id": f"plan-{task.id}",
        "family": task.family,
        "step": at,
        "messages": [message.to_json() for message in messages],
        "choices": [choice.to_json() for choice in choices],
        "answer": choices.index(right),
        "split": task.split,
    }


def _distractors(task: Task, right: Message, guess: str, rng: Random) -> list[Message]:
    """Return three different wrong actions: other steps, misread arguments, another tool, a guessed
    answer.
    """
    call = right.tool_calls[0] if right.tool_calls else task.steps[-1]
    argument, value = next(iter(call.arguments.items()))
    names = [tool["function"]["name"] for tool in tools_of(task.environment)]
    # The second step of a file task would be right at once, had the file's name been known.
    others = () if task.environment == "files" else task.steps
    candidates = [Message("assistant", tool_calls=(step,)) for step in others]
    candidates += [
        Message("assistant", tool_calls=(ToolCall(name, {argument: value}),))
        for name in names
        if name != call.name
    ]
    rng.shuffle(candidates)
    misread = [
        Message("assistant", tool_calls=(ToolCall(call.name, {argument: wrong}),))
        for wrong in misreadings(value, rng)
    ]
    chosen: list[Message] = []
    for candidate in (*misread[:1], Message("assistant", guess), *candidates, *misread[1:]):
        if candidate != right and candidate not in chosen:
            chosen.append(candidate)
    return chosen[: CHOICES - 1]


def _guess(task: Task, world: World, rng: Random) -> str:
    """Return a wrong final answer of the right kind: another class, or a number misread."""
    if task.environment != "lookup":
        return next(misreadings(task.answer, rng))
    kinds = sorted({entry.kind for entry in world.entries.values()} - {task.answer})
    return rng.choice(kinds) if kinds else "unknown"
