"""The seam between orchestration and execution: who starts an attempt, watches it and ends it.

Launchers differ in where the attempt runs and in nothing else; all of them run the argv of
`execute`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from components.artifacts.store import Attempt
from components.execution.exit_codes import ExitCode, describe
from components.execution.request import StageRequest


@dataclass(frozen=True)
class Handle:
    """Name one started attempt."""

    stage: str
    key: str
    attempt: int


class Reason(StrEnum):
    """Name what kind of end an attempt came to; a retry is decided by it."""

    COMPLETED = "completed"
    APP_ERROR = "app error"
    GUARD = "guard"
    REFUSED = "refused"
    """Bad configuration, a missing device or a missing input: the same again would end alike."""
    SERVICE_AWAY = "service away"
    STOPPED = "stopped"
    """SIGTERM reached it and its resume point is saved."""
    KILLED = "killed"
    OUT_OF_MEMORY = "out of memory"
    EVICTED = "evicted"
    PREEMPTED = "pre-empted"
    NODE_LOST = "node lost"
    IMAGE_PULL = "image pull"
    DEADLINE = "deadline"
    DELETED = "deleted"
    """Somebody deleted its Job."""
    LOST = "lost"
    """It cannot be seen and its heartbeat is old."""


_REASONS = {
    ExitCode.DONE: Reason.COMPLETED,
    ExitCode.BAD_INPUT: Reason.REFUSED,
    ExitCode.ENVIRONMENT: Reason.REFUSED,
    ExitCode.GUARD: Reason.GUARD,
    ExitCode.NOT_FOUND: Reason.REFUSED,
    ExitCode.TRY_AGAIN: Reason.SERVICE_AWAY,
    ExitCode.INTERRUPTED: Reason.STOPPED,
    ExitCode.KILLED: Reason.KILLED,
    ExitCode.PREEMPTED: Reason.STOPPED,
}


def reason_of(code: int) -> Reason:
    """Return the kind of end that an exit code alone stands for."""
    if code in _REASONS:
        return _REASONS[ExitCode(code)]
    return Reason.KILLED if code > 128 else Reason.APP_ERROR


@dataclass(frozen=True)
class Running:
    """Say that the attempt is alive; `waiting` says in words what keeps it from starting."""

    waiting: str = ""


@dataclass(frozen=True)
class Ended:
    """Say that the attempt is over: its exit code, the cause in words, and the kind of end.

    Without `reason` the exit code decides.
    """

    code: int
    cause: str = ""
    kind: Reason | None = None

    @property
    def reason(self) -> Reason:
        """Kind of end."""
        return self.kind or reason_of(self.code)


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

    def handles(self) -> list[Handle]:
        """Return the attempts that live on without the orchestrator which started them, as far as
        this launcher keeps such, ended ones included.
        """
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


def cause(attempt: Attempt, code: int) -> str:
    """Return why the attempt ended: its own words, else those of the code."""
    result = attempt.record("result") or {}
    return result.get("cause") or describe(code)
