"""The seam between orchestration and execution: who starts an attempt, watches it and ends it.

Launchers differ in where the attempt runs and in nothing else; all of them run the argv of
`execute`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from components.execution.exit_codes import describe
from components.execution.request import StageRequest


@dataclass(frozen=True)
class Handle:
    """Name one started attempt."""

    stage: str
    key: str
    attempt: int


@dataclass(frozen=True)
class Running:
    """Say that the attempt is alive."""


@dataclass(frozen=True)
class Ended:
    """Say that the attempt is over: its exit code, and the cause in words."""

    code: int
    cause: str = ""


@dataclass(frozen=True)
class Unknown:
    """Say that the attempt cannot be seen; it is left alone."""


Status = Running | Ended | Unknown


class Launcher(Protocol):
    """Start attempts and tell what became of them."""

    def submit(self, request: StageRequest) -> Handle:
        """Start the attempt; its request already lies in the store."""
        ...

    def find(self, stage: str, key: str, attempt: int) -> Handle | None:
        """Return the handle of an attempt that someone started before, if it is alive."""
        ...

    def status(self, handle: Handle) -> Status:
        """Tell whether the attempt runs."""
        ...

    def wait(self, handle: Handle, timeout: float) -> Status:
        """Return the status, after `timeout` seconds or as soon as the attempt is over."""
        ...

    def cancel(self, handle: Handle) -> None:
        """Ask the attempt to save its resume point and end; asked again, end one that does not.

        The first call may come too early for an attempt that is only just starting.
        """
        ...

    def logs(self, handle: Handle) -> Iterator[str]:
        """Yield the lines the attempt has printed so far."""
        ...

    def close(self) -> None:
        """End what was kept for the next attempt; attempts that still run are asked to stop."""
        ...


def cause(path: Path, code: int) -> str:
    """Return why the attempt with this request ended: its own words, else those of the code."""
    try:
        result = json.loads(path.with_name("result.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return describe(code)
    return result.get("cause") or describe(code)
