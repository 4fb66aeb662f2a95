"""What a task's tools do: execute calls for real and check a final answer.

An environment belongs to one task and is cheap to open. The calculator and the tables are trusted
functions of this process; a command that a model wrote runs in the sandbox session and nowhere
else. A failure of the sandbox itself is marked `infrastructure`: it is no evidence about the model
and must never become a reward.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from components.agents.conversation import ToolCall

if TYPE_CHECKING:
    from components.sandbox.interface import Sandbox

TRANSIENT_ERROR = "error: try again"


@dataclass(frozen=True)
class ToolResult:
    """Hold what a tool answered; `failed` marks an error text, `infrastructure` a fault that is
    ours.
    """

    text: str
    failed: bool = False
    infrastructure: bool = False


@dataclass(frozen=True)
class Entry:
    """Hold one entry that the look-up tools serve; `references` are keys of other entries."""

    key: str
    title: str
    kind: str
    text: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class World:
    """Hold what the tools of all tasks read: entries and prices by key, and the directory of
    files.
    """

    entries: Mapping[str, Entry]
    prices: Mapping[str, int]
    files: Path

    @cached_property
    def file_names(self) -> tuple[str, ...]:
        """Names of the files in the sandbox's working directory, sorted."""
        if not self.files.is_dir():
            return ()
        return tuple(sorted(path.name for path in self.files.iterdir()))

    @cached_property
    def by_word(self) -> Mapping[str, tuple[str, ...]]:
        """Lower-case word of a title to the keys of the entries that have it."""
        index: dict[str, list[str]] = {}
        for key in sorted(self.entries):
            for word in dict.fromkeys(self.entries[key].title.lower().split()):
                index.setdefault(word, []).append(key)
        return {word: tuple(keys) for word, keys in index.items()}


def load_world(directory: Path) -> World:
    """Read the `world/` directory of a Tasks artifact; a missing table is empty."""
    entries: dict[str, Entry] = {}
    table = directory / "entries.jsonl"
    if table.exists():
        for line in table.read_text(encoding="utf-8").splitlines():
            stored = json.loads(line)
            stored["references"] = tuple(stored["references"])
            entries[stored["key"]] = Entry(**stored)
    prices = directory / "prices.json"
    listed = json.loads(prices.read_text(encoding="utf-8")) if prices.exists() else {}
    return World(entries, listed, directory / "files")


class Environment(Protocol):
    """Execute the calls of one task and check its answer."""

    def execute(self, call: ToolCall) -> ToolResult:
        """Run one call; a call the environment cannot serve is a failed result, never an
        exception.
        """
        ...

    def check(self, answer: str) -> bool:
        """Say whether a final answer is right; surrounding white space does not count."""
        ...

    def close(self) -> None:
        """Leave the environment; the sandbox session stays open for the next task."""
        ...


def open_environment(
    task: Mapping[str, Any], world: World, sandbox: Sandbox | None = None
) -> Environment:
    """Open the environment that `task["environment"]` names.

    `sandbox` may be None for environments that run no commands. Raises ValueError for an unknown
    environment and for `files` without a sandbox.
    """
    from components.agents.environments.calculator import CalculatorEnvironment
    from components.agents.environments.files import FilesEnvironment
    from components.agents.environments.lookup import LookupEnvironment
    from components.agents.environments.prices import PricesEnvironment

    name, answer = task["environment"], str(task["answer"])
    if name == "calculator":
        return CalculatorEnvironment(answer)
    if name == "prices":
        return PricesEnvironment(answer, world)
    if name == "lookup":
        return LookupEnvironment(answer, world)
    if name == "files":
        if sandbox is None:
            raise ValueError(f"task {task.get('id', '?')} runs commands: it needs a sandbox")
        return FilesEnvironment(answer, world, sandbox)
    raise ValueError(f"unknown environment {name!r}; known: calculator, prices, lookup, files")


def same_answer(given: str, expected: str) -> bool:
    """Compare answers after collapsing white space, ignoring case and a final full stop."""
    return _plain(given) == _plain(expected)


def _plain(answer: str) -> str:
    return " ".join(answer.split()).removesuffix(".").lower()


@dataclass
class TransientErrors:
    """Wrap an environment so that its call number `at` fails once with a transient error.

    Recovery is scored with it: whether a call fails depends on nothing but (seed, task id), see
    `inject_errors`.
    """

    inner: Environment
    at: int = 0
    _calls: int = 0

    def execute(self, call: ToolCall) -> ToolResult:
        """Run the call, or answer the transient error if it is this call's turn."""
        number, self._calls = self._calls, self._calls + 1
        if number == self.at:
            return ToolResult(TRANSIENT_ERROR, failed=True)
        return self.inner.execute(call)

    def check(self, answer: str) -> bool:
        """Check with the wrapped environment."""
        return self.inner.check(answer)

    def close(self) -> None:
        """Close the wrapped environment."""
        self.inner.close()


def inject_errors(
    environment: Environment, task: Mapping[str, Any], *, seed: int, rate: float = 1.0
) -> Environment:
    """Make the first call fail in a share `rate` of the tasks, chosen by (seed, task id)."""
    digest = hashlib.sha256(f"{seed}:{task['id']}".encode()).digest()
    if int.from_bytes(digest[:8], "big") / 2**64 >= rate:
        return environment
    return TransientErrors(environment)
