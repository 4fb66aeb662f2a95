"""Compare what is written down with what is: close what is dead, adopt what lives unwatched, fence
what should not live, and leave alone what cannot be seen.

A run whose orchestrator lives is its own business. Everything else is looked at step by step. What
is done here may be done twice: a second reconciler finds it done, or does the same again. On one
machine the lock of a run keeps two apart, and keeps both off a run that is being continued.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any

from components.artifacts.store import Attempt, open_store
from components.catalog import queries
from components.catalog.rebuild import tell_again
from components.contract import StageFailure, TryAgain
from components.execution.exit_codes import ExitCode
from components.execution.launch import Ended, Handle, Launcher, Reason, Running, Status, Unknown
from components.settings import Settings
from flows.abandoned import Abandoned, Finding, found, tell_servers, write_attempt
from flows.pulse import is_to_stop
from flows.register import Register
from flows.run import open_launcher
from flows.runs import RunRecord, StepRecord, load_run, newest_first, run_lock
from flows.verdict import LOOK_SECONDS, orchestrator_lives, verdict

RECENT_RUNS = 50
"""Newest runs that are looked at besides those which the catalog says run."""
SETTLED_SECONDS = 45.0
"""Time after the end of a run for which what it started may still be ending."""


class Reconciler:
    """Hold what several rounds share: the store, and a watch on the cluster."""

    def __init__(
        self,
        settings: Settings,
        tell: Callable[[Abandoned], None] = tell_servers,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self.settings = settings
        self._tell = tell
        self.store = open_store(settings)
        self._look_seconds = look_seconds
        self._launcher: Launcher | None = None
        self._unseen = set[str]()
        """Why the cluster cannot be seen."""
        self._looked_at = set[tuple[str, int]]()
        """Attempts that this round has dealt with, by key and number."""

    def close(self) -> None:
        """Stop watching the cluster; Jobs that run are left alone."""
        if self._launcher is not None:
            self._launcher.close()

    def round(self, *, dry_run: bool = False, only: str = "") -> list[Finding]:
        """Look at everything once, or at one run, and set right what is wrong; `dry_run` only
        says what that is.
        """
        self._unseen.clear()
        self._looked_at.clear()
        said_runs, said_attempts = (
            ([only], []) if only else queries.said_to_run(self.settings.catalog_url)
        )
        findings: list[Finding] = []
        for record in self._open_runs(said_runs, 0 if only else RECENT_RUNS):
            findings += self._look_at_run(record, dry_run)
        if not only:
            findings += self._look_at_catalog(said_runs, dry_run)
            findings += self._look_at_jobs(said_runs, dry_run)
            findings += self._look_at_attempts(said_attempts, dry_run)
        findings += [Finding("left", cause=cause) for cause in sorted(self._unseen)]
        return findings

    def rounds(self, seconds: float, *, dry_run: bool = False) -> Iterator[list[Finding]]:
        """Yield what each round found, without end and with so many seconds between two.

        A store that is away ends nothing: it is one finding, and asked again in the next round.
        The file `reconciled` under the home is as old as the last round that got through.
        """
        while True:
            try:
                findings = self.round(dry_run=dry_run)
                self.settings.home.mkdir(parents=True, exist_ok=True)
                (self.settings.home / "reconciled").touch()
            except (OSError, StageFailure) as error:
                findings = [Finding("left", cause=str(error))]
            yield findings
            time.sleep(seconds)

    def _open_runs(self, said: Iterable[str], recent: int = RECENT_RUNS) -> Iterator[RunRecord]:
        """Yield the runs that are open: of the newest, and of those that are said to run."""
        seen = set[str]()
        for record in islice(newest_first(self.store), recent):
            seen.add(record.id)
            if record.state == "running":
                yield record
        for run_id in set(said) - seen:
            record = load_run(self.store, run_id)
            if record is not None and record.state == "running":
                yield record

    def _look_at_run(self, record: RunRecord, dry_run: bool) -> list[Finding]:
        lives = orchestrator_lives(self.store, record, self._look_seconds)
        if lives:
            return []
        if lives is None:
            cause = f"its orchestrator on {record.host} cannot be seen from {socket.gethostname()}"
            return [Finding("left", record.id, cause=cause)]
        running = {name: step for name, step in record.steps.items() if step.state == "running"}
        attempts = {name: self._attempt_of(record, step) for name, step in running.items()}
        ends = {name: self._end_of(attempt) for name, attempt in attempts.items()}
        self._looked_at |= {(a.key, a.number) for a in attempts.values() if a is not None}
        cancelled = is_to_stop(self.store, record.id) or self._was_cancelled(record)
        run = Abandoned(self.settings, self.store, record, attempts, ends, cancelled)
        if dry_run:
            return run.findings()
        try:
            with run_lock(self.settings, record.id):
                now = load_run(self.store, record.id)
                if now is None or (now.state, now.host, now.pid) != (
                    "running",
                    record.host,
                    record.pid,
                ):
                    return []  # somebody closed or continued it meanwhile
                findings = run.settle(self._launcher)
        except TryAgain:  # somebody works on it
            return []
        self._tell(run)
        return findings

    def _was_cancelled(self, record: RunRecord) -> bool:
        if not record.links.get("prefect_flow_run"):
            return False
        from flows.prefect_runs import was_cancelled

        return was_cancelled(self.settings, record)

    def _attempt_of(self, record: RunRecord, step: StepRecord) -> Attempt | None:
        """Return the attempt that a running step of a run is at; None before its first."""
        if step.key is None:
            return None
        for attempt in reversed(self.store.attempts(step.stage, step.key)):
            asked_by = (attempt.record("request") or {}).get("run")
            if attempt.number == step.attempt or asked_by == record.id:
                return attempt
        return None

    def _end_of(self, attempt: Attempt | None) -> Status:
        if attempt is None:
            return Ended(ExitCode.KILLED, "it was never started", Reason.LOST)
        try:
            return verdict(self.store, attempt, self._cluster, self._look_seconds)
        except TryAgain as error:
            self._unseen.add(str(error))
            return Unknown()

    def _cluster(self) -> Launcher | None:
        """Return the launcher that sees Jobs; None where there is no way to the cluster."""
        if self._launcher is None:
            chosen = self.settings.model_copy(update={"launcher": "kubernetes"})
            try:
                self._launcher = open_launcher(chosen, self.store)
            except StageFailure as error:
                self._unseen.add(str(error))
        return self._launcher

    def _look_at_catalog(self, said: list[str], dry_run: bool) -> list[Finding]:
        """Tell the catalog the end of runs that it missed while its database was away."""
        findings: list[Finding] = []
        for run_id in said:
            record = load_run(self.store, run_id)
            if record is None or record.state == "running" or not _settled(record):
                continue
            findings.append(Finding("closed", run_id, cause="the catalog had missed its end"))
            if not dry_run:
                tell_again(self.settings.catalog_url, self.store, run_id)
        return findings

    def _look_at_jobs(self, said: list[str], dry_run: bool) -> list[Finding]:
        """End the Jobs that should not run."""
        if self.settings.launcher != "kubernetes" and self._launcher is None:
            return []
        launcher: Any = self._cluster()
        findings: list[Finding] = []
        try:
            for handle in launcher.handles() if launcher else ():
                findings += self._look_at_job(launcher, handle, said, dry_run)
        except TryAgain as error:
            self._unseen.add(str(error))
        return findings

    def _look_at_job(
        self, launcher: Launcher, handle: Handle, said: list[str], dry_run: bool
    ) -> list[Finding]:
        attempt = self.store.attempt(handle.stage, handle.key, handle.attempt)
        request = attempt.record("request")
        if request is None or launcher.find(handle.stage, handle.key, handle.attempt) is None:
            return []  # of another store, or over
        why = self._should_not_run(handle, str(request["run"]), said)
        if not why or not isinstance(launcher.status(handle), Running):
            return []
        if not dry_run:
            launcher.cancel(handle)
        return [Finding("fenced", request["run"], request["step"], handle.attempt, why)]

    def _should_not_run(self, handle: Handle, run_id: str, said: list[str]) -> str:
        """Return why a Job should not run; empty where it may."""
        manifest = self.store.manifest(handle.stage, handle.key)
        if manifest is not None:
            same = manifest.attempt == handle.attempt
            return "" if same else f"attempt {manifest.attempt} has committed the artifact"
        newest = self.store.fence(handle.stage, handle.key)
        if newest > handle.attempt:
            return f"attempt {newest} is newer"
        record = load_run(self.store, run_id)
        if record is None or record.state == "running" or not _settled(record):
            return ""
        if any(_wants(other, handle.key) for other in self._open_runs(said)):
            return ""
        return f"its run has ended ({record.state}) and no other needs it"

    def _look_at_attempts(self, said: list[queries.AttemptRow], dry_run: bool) -> list[Finding]:
        """Close the attempts that the catalog alone says run, such as those before the newest of a
        run that was continued.
        """
        findings: list[Finding] = []
        for row in said:
            record = load_run(self.store, row.run_id or "-")
            if record is None or (row.key, row.number) in self._looked_at:
                continue
            if _is_at(record, row) and not _settled(record):
                continue  # its orchestrator says how it ended, or has just said so
            attempt = self.store.attempt(row.stage, row.key, row.number)
            status = self._end_of(attempt)
            if not isinstance(status, Ended):
                continue
            findings.append(found(record.id, row.step or "", attempt, status))
            if not dry_run:
                register = Register(self.store, record, self.settings.catalog_url)
                write_attempt(register, attempt, status)
                register.close()
        return findings


def _settled(record: RunRecord) -> bool:
    """Return whether a run has ended so long ago that whoever ended it is done."""
    return record.ended is not None and time.time() - record.ended > SETTLED_SECONDS


def _wants(record: RunRecord, key: str) -> bool:
    """Return whether a run waits for an artifact."""
    waiting = {"pending", "running"}
    return any(step.key == key and step.state in waiting for step in record.steps.values())


def _is_at(record: RunRecord, row: queries.AttemptRow) -> bool:
    """Return whether a run has no newer attempt than this one."""
    steps = [step for step in record.steps.values() if step.key == row.key]
    return any(step.attempt is None or step.attempt <= row.number for step in steps)


def news(rounds: Iterable[list[Finding]]) -> Iterator[Finding]:
    """Yield each finding of many rounds once for as long as it is found again and again."""
    told: list[Finding] = []
    for findings in rounds:
        yield from (finding for finding in findings if finding not in told)
        told = findings


def to_json(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return findings as JSON values."""
    return [asdict(finding) for finding in findings]
