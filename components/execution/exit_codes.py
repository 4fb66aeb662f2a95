"""The exit codes of a step and of the command line, and what each means for a retry.

A cluster's `podFailurePolicy` and `run_step` decide by these numbers alone, so they are part of
the contract.
"""

from __future__ import annotations

import errno
import os
import shutil
from enum import IntEnum
from pathlib import Path

from components.contract import StageFailure, Stopped


class ExitCode(IntEnum):
    """Name what ended a process."""

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    ENVIRONMENT = 3
    GUARD = 4
    NOT_FOUND = 5
    TRY_AGAIN = 75
    INTERRUPTED = 130
    KILLED = 137
    PREEMPTED = 143


MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "failed at run time",
    ExitCode.BAD_INPUT: "bad usage, configuration or input",
    ExitCode.ENVIRONMENT: "the environment lacks something, or a preflight check failed",
    ExitCode.GUARD: "stopped by a training guard",
    ExitCode.NOT_FOUND: "not found",
    ExitCode.TRY_AGAIN: "a service is away; try again",
    ExitCode.INTERRUPTED: "interrupted",
    ExitCode.KILLED: "killed",
    ExitCode.PREEMPTED: "pre-empted; the resume point is saved",
}


MACHINE_FAULTS = {
    errno.ENOSPC: "The disk is full: free some space; the same command goes on.",
    errno.EDQUOT: "The disk quota is used up: free some space; the same command goes on.",
    errno.EROFS: "The file system is read-only: write elsewhere, such as with another STRATA_HOME.",
    errno.EACCES: "You may not write there: write elsewhere, such as with another STRATA_HOME.",
    errno.EADDRINUSE: "The port is in use: choose another one.",
}
"""System errors that a second attempt would meet again, and what to do about each."""


def disk_is_full(error: BaseException) -> bool:
    """Return whether an error says so; some libraries keep the words and drop the number."""
    if isinstance(error, StageFailure):  # it tells its cause and fix itself
        return False
    number = error.errno if isinstance(error, OSError) else None
    return number in {errno.ENOSPC, errno.EDQUOT} or "No space left on device" in str(error)


def machine_fault(error: BaseException, place: Path | None = None) -> str | None:
    """Say what the machine lacks, where and what to do; None for every other error.

    `place` is named where the error names no file.
    """
    number = errno.ENOSPC if disk_is_full(error) else getattr(error, "errno", None)
    if number not in MACHINE_FAULTS or not isinstance(number, int):
        return None
    where = getattr(error, "filename", None) or place
    what = os.strerror(number)
    fix = MACHINE_FAULTS[number]
    if not where:
        return f"{what}.\n{fix}"
    if number in {errno.ENOSPC, errno.EDQUOT}:
        fix = f"{_free_bytes(Path(where)):,} bytes are free there. {fix}"
    return f"{what}: {where}\n{fix}"


def _free_bytes(place: Path) -> int:
    """Return what can be written on the disk of a path, which need not exist."""
    return shutil.disk_usage(next(p for p in (place, *place.absolute().parents) if p.exists())).free


def exit_code(error: BaseException) -> ExitCode:
    """Return the exit code that an exception leaving a stage or a command stands for."""
    if isinstance(error, StageFailure):
        return ExitCode(error.exit_code)
    if isinstance(error, Stopped):
        return ExitCode.PREEMPTED
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if machine_fault(error) is not None:
        return ExitCode.ENVIRONMENT
    return ExitCode.FAILED


def describe(code: int) -> str:
    """Say in words what an exit code means; a signal keeps its number."""
    if code in MEANINGS:
        return MEANINGS[ExitCode(code)]
    return f"ended by signal {code - 128}" if code > 128 else f"exit code {code}"
