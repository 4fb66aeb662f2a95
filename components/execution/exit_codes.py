"""The exit codes of a step and of the command line, and what each means for a retry.

A cluster's `podFailurePolicy` and `run_step` decide by these numbers alone, so they are part of
the contract.
"""

from __future__ import annotations

from enum import IntEnum

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


def exit_code(error: BaseException) -> ExitCode:
    """Return the exit code that an exception leaving a stage or a command stands for."""
    if isinstance(error, StageFailure):
        return ExitCode(error.exit_code)
    if isinstance(error, Stopped):
        return ExitCode.PREEMPTED
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    return ExitCode.FAILED


def describe(code: int) -> str:
    """Say in words what an exit code means; a signal keeps its number."""
    if code in MEANINGS:
        return MEANINGS[ExitCode(code)]
    return f"ended by signal {code - 128}" if code > 128 else f"exit code {code}"
