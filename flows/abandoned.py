"""A run whose orchestrator is gone: what its steps came to, and how that is written down.

What has committed is recorded, what is dead is closed with its cause, and what lives on a cluster
stays. Once nothing lives the run is closed, and a deployment's run is asked for again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from components.artifacts.store import ArtifactStore, Attempt
from components.catalog.rebuild import tell_again
from components.catalog.record import AttemptState
from components.execution.launch import Ended, Handle, Launcher, Reason, Running, Status, Unknown
from components.settings import Settings
from flows.budget import may_try_again
from flows.register import Register
from flows.runs import RunRecord, RunState, StepState
from flows.verdict import last_lines


@dataclass(frozen=True)
class Finding:
    """Say what was found and what is done about it; a run without a step is the run itself."""

    kind: Literal["closed", "adopted", "fenced", "left"]
    run: str = ""
    step: str = ""
    attempt: int | None = None
    cause: str = ""
    lines: tuple[str, ...] = ()
    """What the attempt printed last."""

    def __str__(self) -> str:
        parts = [f"run {self.run}" if self.run else "", f"step {self.step}" if self.step else ""]
        parts += [f"attempt {self.attempt}" if self.attempt else ""]
        what = " ".join(part for part in parts if part)
        told = ": ".join(part for part in (self.kind, what, self.cause) if part)
        return "\n    ".join([told, *self.lines])


def found(run_id: str, step: str, attempt: Attempt | None, end: Status) -> Finding:
    """Say what was found of one attempt."""
    number = attempt.number if attempt else None
    match end:
        case Ended(code=0):
            return Finding("adopted", run_id, step, number, "it has committed its artifact")
        case Ended():
            lines = tuple(last_lines(attempt)) if attempt else ()
            return Finding("closed", run_id, step, number, end.cause, lines)
        case Running():
            return Finding("adopted", run_id, step, number, "it runs on without an orchestrator")
        case Unknown():
            return Finding("left", run_id, step, number, "it cannot be seen")


def write_attempt(register: Register, attempt: Attempt, end: Ended) -> None:
    """Write down how an attempt ended."""
    result = attempt.record("result") or {}
    state: AttemptState = "failed"
    if end.code == 0:
        state = "done"
    elif end.reason is Reason.LOST:
        state = "lost"
    elif may_try_again(end.reason) and end.reason is not Reason.APP_ERROR:
        state = "stopped"
    register.attempt(
        attempt.key,
        attempt.number,
        state=state,
        ended=result.get("ended") or time.time(),
        exit_code=int(end.code),
        cause=end.cause or None,
    )


@dataclass(frozen=True)
class Abandoned:
    """Hold a run without an orchestrator, with its running steps and their ends, by name."""

    settings: Settings
    store: ArtifactStore
    record: RunRecord
    attempts: Mapping[str, Attempt | None]
    ends: Mapping[str, Status]
    cancelled: bool

    def findings(self) -> list[Finding]:
        """Say what was found, of its steps and of the run."""
        each = [
            found(self.record.id, name, self.attempts[name], end) for name, end in self.ends.items()
        ]
        if not self.is_over:
            return each
        state, cause = self._close()
        return [*each, Finding("closed", self.record.id, cause=cause or state)]

    def settle(self, launcher: Launcher | None) -> list[Finding]:
        """Write down what became of the steps and, where none lives, of the run; a cancelled run's
        Jobs are ended with `launcher`. Returns the findings.
        """
        findings = self.findings()
        # A catalog that was away, or is another one, may not know the run at all.
        tell_again(self.settings.catalog_url, self.store, self.record.id)
        register = Register(self.store, self.record, self.settings.catalog_url)
        try:
            for name, end in self.ends.items():
                attempt = self.attempts[name]
                if isinstance(end, Ended):
                    self._settle_step(register, name, end)
                elif self.cancelled and attempt is not None and launcher is not None:
                    launcher.cancel(Handle(attempt.stage, attempt.key, attempt.number))
            if self.is_over:
                self._settle_run(register)
        finally:
            register.close()
        return findings

    @property
    def is_over(self) -> bool:
        """Whether nothing of the run lives, as far as all of it can be seen."""
        return all(isinstance(end, Ended) for end in self.ends.values())

    def _settle_step(self, register: Register, name: str, end: Ended) -> None:
        attempt = self.attempts[name]
        step = self.record.steps[name]
        state, cause = self._outcome(name, end)
        if attempt is not None:
            write_attempt(register, attempt, end)
        manifest = self.store.manifest(step.stage, step.key) if step.key else None
        if state == "done" and manifest is not None:
            register.artifact(manifest)
            register.step(
                name,
                state="done",
                digest=manifest.digest,
                attempt=manifest.attempt,
                ended=manifest.ended,
            )
            return
        lines = last_lines(attempt) if attempt else []
        register.event("closed", name, cause=cause, lines=lines)
        register.step(name, state=state, ended=time.time(), cause="\n".join([cause, *lines]))

    def _settle_run(self, register: Register) -> None:
        state, cause = self._close()
        for name, step in self.record.steps.items():
            if step.state == "pending" and state != "done":
                register.step(name, state="skipped")
        register.event("reconciled", state=state, cause=cause)
        register.finish(state, cause or None)

    def _outcome(self, name: str, end: Ended) -> tuple[StepState, str]:
        """Return the state of a step whose attempt came to this end, and why."""
        step = self.record.steps[name]
        if step.key and self.store.manifest(step.stage, step.key) is not None:
            return "done", ""
        if end.code == 0:
            return "stopped", "its artifact is gone"
        return ("stopped" if may_try_again(end.reason) else "failed"), end.cause

    def _close(self) -> tuple[RunState, str]:
        """Return the state of the run and why; call it when every step is over."""
        ends = {n: self._outcome(n, e) for n, e in self.ends.items() if isinstance(e, Ended)}
        states = [ends[n][0] if n in ends else s.state for n, s in self.record.steps.items()]
        if all(state in {"done", "cached"} for state in states):
            return "done", ""
        if self.cancelled:
            return "stopped", "cancelled"
        for name, (state, cause) in ends.items():
            if state == "failed":
                return "failed", f"step {name}: {cause}"
        who = f"process {self.record.pid} on {self.record.host}"
        return "stopped", f"its orchestrator ({who}) is gone; the same command continues it"


def tell_servers(run: Abandoned) -> None:
    """Let Prefect and MLflow know what became of a run; what is away is told by a later round or
    run.
    """
    if run.record.links.get("prefect_flow_run"):
        from flows.prefect_runs import close_flow_run, resubmit

        lives = any(isinstance(end, Running) for end in run.ends.values())
        goes_on = run.record.state in {"running", "stopped"} and (lives or run.is_over)
        if goes_on and not run.cancelled:
            resubmit(run.settings, run.record)
        if run.is_over:
            close_flow_run(run.settings, run.record, cancelled=run.cancelled)
    if run.is_over:
        from flows.shipping import ship_once

        ship_once(run.settings, run.store, run.record)
