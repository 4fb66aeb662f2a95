"""Which tasks a step trains on: a pure function of (seed, step), so that a resumed run goes on
alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.contract import BadInput


def prompts_at(
    tasks: Sequence[Mapping[str, Any]], *, seed: int, step: int, groups: int
) -> list[Mapping[str, Any]]:
    """Return the `groups` tasks of step `step`, without repetition inside a pass over all tasks.

    Prompt p of the run is number p % n of pass p // n, and each pass has an order of its own. A
    step that spans two passes leaves out a task it already has, so no step holds a task twice;
    one that asks for more tasks than there are gets them all. Raises ValueError without tasks.
    """
    if not tasks:
        raise ValueError("no tasks to train on")
    groups = min(groups, len(tasks))
    first = step * groups
    chosen: list[Mapping[str, Any]] = []
    for number in range(first // len(tasks), (first + groups - 1) // len(tasks) + 1):
        order = _pass(tasks, seed, number)
        start = max(0, first - number * len(tasks))
        end = min(len(tasks), first + groups - number * len(tasks))
        chosen += order[start:end]
    return _distinct(chosen, tasks)


def read_prompts(path: Path, families: Sequence[str] = ()) -> list[Mapping[str, Any]]:
    """Read the tasks to train on; no families means all.

    Raises BadInput for a family without tasks, and where there are no tasks at all.
    """
    with path.open(encoding="utf-8") as lines:
        tasks: list[Mapping[str, Any]] = [json.loads(line) for line in lines]
    known = sorted({task["family"] for task in tasks})
    missing = sorted(set(families) - set(known))
    if missing or not tasks:
        raise BadInput(
            f"No tasks of {', '.join(missing) or 'any family'} to train on; the split rl holds:"
            f" {', '.join(known) or 'nothing'}. Change rl.families or the tasks step."
        )
    return [task for task in tasks if not families or task["family"] in families]


def step_seed(seed: int, step: int) -> int:
    """Return the seed of a step's sampling noise and injected errors."""
    digest = hashlib.blake2b(f"rl\0{seed}\0{step}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def _pass(tasks: Sequence[Mapping[str, Any]], seed: int, number: int) -> list[Mapping[str, Any]]:
    def rank(task: Mapping[str, Any]) -> bytes:
        text = f"{seed}\0{number}\0{task['id']}"
        return hashlib.blake2b(text.encode(), digest_size=8).digest()

    return sorted(tasks, key=rank)


def _distinct(
    chosen: list[Mapping[str, Any]], tasks: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Replace a task's second occurrence by the first tasks not yet chosen."""
    seen: set[str] = set()
    kept = [task for task in chosen if not (task["id"] in seen or seen.add(task["id"]))]
    spare = (task for task in tasks if task["id"] not in seen)
    return kept + [next(spare) for _ in range(len(chosen) - len(kept))]
