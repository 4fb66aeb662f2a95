"""Make one artifact: launch attempts, watch them, and try again where the cause allows it.

One layer owns retries, and `budget` says how many there are for each kind of end. What cannot be
seen is waited for: neither a launcher nor a store that is away ends an attempt.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from components.artifacts.manifest import Manifest
from components.artifacts.store import Attempt
from components.contract import StageFailure, TryAgain
from components.execution.exit_codes import ExitCode, describe
from components.execution.launch import Ended, Handle, Reason, Running, Status
from components.execution.request import StageRequest
from flows.budget import Budget
from flows.context import Run

Answer = TypeVar("Answer")

POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 1.0
"""Time between two looks at an attempt's heartbeat, which beats every two seconds."""


class StepFailed(StageFailure):
    """Report that a step ended without its artifact; `exit_code` is the step's own."""

    def __init__(self, step: str, code: int, cause: str, log: Path | None = None) -> None:
        self.step = step
        self.exit_code = code
        self.cause = cause
        self.log = log
        super().__init__(f"step {step}: {cause}\nExit code {code}: {describe(code)}.")


class Interrupted(StageFailure):
    """Report that the run was asked to stop and its steps have saved what they had.

    `stopped_by` is the signal that asked, as far as one did.
    """

    def __init__(self, message: str, stopped_by: int = 0) -> None:
        terminated = stopped_by == signal.SIGTERM
        self.exit_code = ExitCode.PREEMPTED if terminated else ExitCode.INTERRUPTED
        super().__init__(message)


@dataclass(frozen=True)
class Patient:
    """Ask a service, and while it is away ask the same again, for as long as the step may take."""

    run: Run
    step: str
    budget: Budget

    def __call__(self, ask: Callable[[], Answer]) -> Answer:
        """Return the answer; raises TryAgain once there is no time left, or the run is to stop."""
        while True:
            try:
                return ask()
            except TryAgain as error:
                pause = self.budget.pause(Ended(ExitCode.TRY_AGAIN))
                if pause is None or self.run.stop.is_set():
                    raise
                self.run.board.say(self.step, f"{error}; trying again in {pause:.0f} s")
                self.run.stop.wait(pause)


def make(run: Run, draft: StageRequest) -> Manifest:
    """Launch attempts at the draft's artifact until one commits; `draft` lacks the attempt's
    number.

    Raises StepFailed with the cause of the last attempt and Interrupted after a stop was asked for.
    """
    budget = Budget(time.time(), draft.resources.timeout_hours * 3600)
    asked = Patient(run, draft.step, budget)
    made = partial(run.store.manifest, draft.stage, draft.key)
    while True:
        if run.stop.is_set():
            raise Interrupted(
                f"step {draft.step} was not started: the run is stopping", run.stopped_by
            )
        handle = asked(partial(_left_running, run, draft))
        manifest = asked(made)
        if handle is None and manifest is not None:
            return manifest  # an attempt left running has ended since one looked
        if handle is None:
            attempt = asked(partial(run.store.new_attempt, draft.stage, draft.key))
        else:
            attempt = run.store.attempt(draft.stage, draft.key, handle.attempt)
            run.board.say(draft.step, f"attempt {handle.attempt} still runs and is followed")
        request = draft.model_copy(update={"attempt": attempt.number})
        ended = _carry_out(run, request, attempt, handle, asked)
        manifest = asked(made)
        if ended.code == 0 and manifest is not None:
            return manifest
        if run.stop.is_set():
            raise Interrupted(
                f"step {draft.step} was stopped; the same command continues it", run.stopped_by
            )
        if ended.code == 0:
            cause = f"attempt {attempt.number} ended well, but its artifact is not in the store"
            ended = Ended(ExitCode.FAILED, cause, Reason.APP_ERROR)
        pause = budget.pause(ended)
        if pause is None:
            raise StepFailed(draft.step, ended.code or 1, ended.cause, attempt.log)
        run.register.event(
            "retry", draft.step, code=ended.code, cause=ended.cause, attempt=attempt.number
        )
        run.board.say(draft.step, f"{ended.cause}; trying again in {pause:.0f} s")
        run.stop.wait(pause)


def _left_running(run: Run, draft: StageRequest) -> Handle | None:
    """Return the newest attempt at the key where it runs on although its orchestrator is gone."""
    attempts = run.store.attempts(draft.stage, draft.key)
    return run.launcher.find(draft.stage, draft.key, attempts[-1].number) if attempts else None


def _carry_out(
    run: Run, request: StageRequest, attempt: Attempt, handle: Handle | None, asked: Patient
) -> Ended:
    """Follow the attempt that `handle` names, else start it, and write down what becomes of it."""
    if handle is None:
        asked(partial(attempt.write_record, "request", request.model_dump(mode="json")))
    started = time.time()
    run.register.attempt(
        request.key,
        attempt.number,
        stage=request.stage,
        run_id=run.id,
        step=request.step,
        state="running",
        host=run.register.run.host,
        started=started,
    )
    run.register.step(request.step, state="running", attempt=attempt.number)
    if handle is None:
        handle = asked(partial(run.launcher.submit, request))
    ended = _watch(run, handle, attempt, asked.budget)
    state = {0: "done", 143: "stopped"}.get(ended.code, "failed")
    run.register.attempt(
        request.key,
        attempt.number,
        state=state,
        ended=time.time(),
        exit_code=ended.code,
        cause=ended.cause if ended.code else None,
    )
    return ended


def _watch(run: Run, handle: Handle, attempt: Attempt, budget: Budget) -> Ended:
    """Follow one attempt to its end, passing its progress on and a stop down."""
    step = _step_of(run, handle)
    looked = 0.0
    while True:
        status = run.launcher.wait(handle, POLL_SECONDS)
        if isinstance(status, Ended):
            return status
        if time.monotonic() - looked > HEARTBEAT_SECONDS:
            _show(run, step, attempt, status)
            looked = time.monotonic()
        late = time.time() - budget.started > budget.seconds
        if run.stop.is_set() or late:
            run.launcher.cancel(handle)


def _show(run: Run, step: str, attempt: Attempt, status: Status) -> None:
    """Pass on what keeps an attempt from starting, or else how far it is."""
    if isinstance(status, Running) and status.waiting:
        run.board.waiting(step, status.waiting)
        return
    with suppress(TryAgain):  # the store is away; the attempt is not ended by that
        run.board.progress(step, attempt.record("progress") or {})


def _step_of(run: Run, handle: Handle) -> str:
    steps = run.register.run.steps.items()
    return next((name for name, step in steps if step.key == handle.key), handle.stage)
