"""Say what became of an attempt or an orchestrator, from outside and without touching it.

Dead is only what is proved so: a process of this machine that is gone, a Job that says so, a result
in the store. Where nothing can be seen the answer is `Unknown`. An old heartbeat alone never proves
anything of an attempt: its store may be away while it trains. Two clocks may differ, so a sign of
life that looks old is looked at twice, and one that has changed is fresh.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from components.artifacts.store import ArtifactStore, Attempt
from components.catalog.liveness import process_lives
from components.execution.exit_codes import ExitCode
from components.execution.launch import Ended, Handle, Launcher, Reason, Running, Status, Unknown
from components.execution.launch import cause as cause_of
from flows.pulse import read_pulse
from flows.runs import RunRecord

SILENT_SECONDS = 30.0
"""Age from which a sign of life counts as old."""
LOOK_SECONDS = 7.0
"""Time between two looks at an old one: twice a pulse, three times a heartbeat."""
LOG_LINES = 5


def orchestrator_lives(
    store: ArtifactStore, record: RunRecord, look_seconds: float = LOOK_SECONDS
) -> bool | None:
    """Return whether somebody works on a run; None where that cannot be seen.

    One on another machine that makes its steps there is never called dead. One that makes them on
    a cluster is, once it is silent: its steps do not depend on it.
    """
    lives = process_lives(record.host, record.pid)
    if lives is False:
        return False

    def beat() -> float | None:
        sign = read_pulse(store, record.id)
        same = sign is not None and (sign.host, sign.pid) == (record.host, record.pid)
        return sign.time if sign is not None and same else None

    first = read_pulse(store, record.id)
    if beat() is None or first is None:
        return lives
    if is_fresh(beat, look_seconds):
        return True
    return False if lives or first.launcher == "kubernetes" else None


def is_fresh(beat: Callable[[], float | None], look_seconds: float = LOOK_SECONDS) -> bool:
    """Return whether a sign of life is new, or changes while it is looked at."""
    before = beat()
    if before is None:
        return False
    if abs(time.time() - before) < SILENT_SECONDS:
        return True
    time.sleep(look_seconds)
    return beat() != before


def verdict(
    store: ArtifactStore,
    attempt: Attempt,
    cluster: Callable[[], Launcher | None],
    look_seconds: float = LOOK_SECONDS,
) -> Status:
    """Return what became of an attempt whose orchestrator is gone; `cluster` opens the launcher
    that sees Jobs, if there is one.
    """
    manifest = store.manifest(attempt.stage, attempt.key)
    if manifest is not None and manifest.attempt == attempt.number:
        return Ended(ExitCode.DONE)
    request = attempt.record("request")
    if request is None:
        return Ended(ExitCode.KILLED, "it was never started", Reason.LOST)
    result = attempt.record("result")
    if result is not None:
        code = int(result["code"])
        return Ended(code, cause_of(attempt, code) if code else "")
    if request.get("home") is None:
        return _on_cluster(attempt, cluster(), look_seconds)
    return _on_machine(attempt, look_seconds)


def last_lines(attempt: Attempt, count: int = LOG_LINES) -> list[str]:
    """Return the last lines that an attempt printed."""
    data = attempt.objects.read(f"{attempt.name}/log.txt") or b""
    lines = data[-8192:].decode("utf-8", "replace").splitlines()
    return [line[:200] for line in lines if line.strip()][-count:]


def _on_cluster(attempt: Attempt, launcher: Launcher | None, look_seconds: float) -> Status:
    if launcher is None:
        return Unknown()
    handle = Handle(attempt.stage, attempt.key, attempt.number)
    found = launcher.find(handle.stage, handle.key, handle.attempt)
    status = launcher.status(found or handle)
    absent = isinstance(status, Ended) and status.reason is Reason.DELETED
    if absent and is_fresh(lambda: _progress(attempt).get("time"), look_seconds):
        return Unknown()  # it runs, on a cluster that is not ours
    return status


def _on_machine(attempt: Attempt, look_seconds: float) -> Status:
    progress = _progress(attempt)
    lives = process_lives(progress.get("host"), progress.get("pid"))
    if lives is None:
        return Unknown()
    if lives and is_fresh(lambda: _progress(attempt).get("time"), look_seconds):
        return Running()
    cause = f"its process {progress['pid']} on {progress['host']} is gone"
    return Ended(ExitCode.KILLED, cause, Reason.LOST)


def _progress(attempt: Attempt) -> dict[str, Any]:
    return attempt.record("progress") or {}
