"""One task: a question, its checked answer, and the calls that lead there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.agents.conversation import ToolCall


@dataclass(frozen=True)
class Task:
    """Hold one line of a split file; `source` is the unit that no two splits share."""

    family: str
    environment: str
    split: str
    question: str
    answer: str
    source: str
    steps: tuple[ToolCall, ...]
    world: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def id(self) -> str:
        """Name the task by family and question, so that equal tasks have equal names in every
        set.
        """
        digest = hashlib.sha256(f"{self.family}\n{self.question}".encode()).hexdigest()
        return f"{self.family}-{digest[:12]}"

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        stored = {"id": self.id, **asdict(self)}
        stored["steps"] = [step.to_json() for step in self.steps]
        return stored


def take(candidates: Iterable[Task], count: int) -> list[Task]:
    """Return the first `count` tasks with different questions; fewer if the candidates end."""
    chosen: dict[str, Task] = {}
    for task in candidates:
        if len(chosen) >= count:
            break
        chosen.setdefault(task.id, task)
    return list(chosen.values())


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> int:
    """Write one JSON object a line and return their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number = 0
    with path.open("w", encoding="utf-8", newline="\n") as out:
        for record in records:
            out.write(json.dumps(record, ensure_ascii=False) + "\n")
            number += 1
    return number


def read_tasks(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the tasks of a split file as dictionaries."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
