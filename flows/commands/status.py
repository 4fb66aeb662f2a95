"""`strata status`, `runs`, `cancel`: how far the runs are."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import Any

from components.artifacts.store import ArtifactStore, open_store
from components.catalog.liveness import present_state
from components.contract import BadInput
from components.settings import settings
from flows.commands.output import emit, say, table, when
from flows.display import MARKS, duration
from flows.runs import RunRecord, StepRecord, find_run, newest_first

STALE_SECONDS = 30.0
"""Age of a heartbeat after which a step no longer counts as alive."""


def status(run: str = "latest", *, json: bool = False) -> None:
    """Show how far a run is, step by step.

    Parameters
    ----------
    run
        Id of the run, or a part of it; the newest without one.
    json
        Print JSON.
    """
    store = open_store(settings())
    record = find_run(store, run)
    steps = [_step(store, name, step) for name, step in record.steps.items()]
    state = state_of(record)
    if state == "interrupted":  # nothing of it runs, whatever its record says last
        for step in steps:
            step["state"] = state if step["state"] == "running" else step["state"]
    if json:
        emit({**_run(record), "state": state, "steps": steps})
        return
    print(f"run {record.id}: {state}" + (f" ({record.cause})" if record.cause else ""))
    rows = [
        [
            MARKS.get(s["state"], "?") + " " + s["step"],
            s["state"],
            s["progress"],
            duration(s["seconds"]) if s["seconds"] else "",
            s["reason"][:80],
        ]
        for s in steps
    ]
    print(table(["step", "state", "progress", "time", "why"], rows))
    if state == "interrupted":
        print("Its process is gone; the command that started it continues it.")


def state_of(record: RunRecord) -> str:
    """Return a run's state; one whose process died without a word is `interrupted`."""
    return present_state(record.state, record.host, record.pid)


def _step(store: ArtifactStore, name: str, step: StepRecord) -> dict[str, Any]:
    progress: dict[str, Any] = {}
    if step.state == "running" and step.key and step.attempt:
        progress = store.attempt(step.stage, step.key, step.attempt).record("progress") or {}
    fresh = time.time() - float(progress.get("time", 0)) < STALE_SECONDS
    total, done = progress.get("total"), progress.get("done", 0)
    shown = f"{done:g}/{total:g} {progress.get('unit', '')}" if total else ""
    return {
        "step": name,
        "stage": step.stage,
        "state": step.state,
        "reason": step.reason,
        "key": step.key,
        "digest": step.digest,
        "attempt": step.attempt,
        "seconds": round(step.seconds, 3),
        "progress": shown if fresh or not total else f"{shown}, silent",
        "cause": step.cause,
    }


def _run(record: RunRecord) -> dict[str, Any]:
    fields = {"id", "recipe", "until", "created", "ended", "seconds", "cause", "host", "pid"}
    return record.model_dump(include={*fields, "commit", "exceptions", "links"})


def runs(*, limit: int = 20, json: bool = False) -> None:
    """List runs, the newest first.

    Parameters
    ----------
    limit
        Most runs to list; 0 lists all.
    json
        Print JSON.
    """
    found: list[RunRecord] = []
    for record in newest_first(open_store(settings())):
        found.append(record)
        if limit and len(found) >= limit:
            break
    if json:
        emit([{**_run(record), "state": state_of(record)} for record in found])
        return
    if not found:
        say("no run yet: start one with `strata run toy`")
        return
    rows: list[list[Any]] = [
        [
            record.id,
            record.recipe,
            state_of(record),
            when(record.created),
            duration(record.seconds),
            _made(record),
        ]
        for record in found
    ]
    print(table(["run", "recipe", "state", "started", "time", "steps"], rows))


def _made(record: RunRecord) -> str:
    ready = sum(step.state in {"done", "cached"} for step in record.steps.values())
    return f"{ready}/{len(record.steps)}"


def cancel(run: str = "latest") -> None:
    """Ask a run of this machine to stop; its steps save resume points first.

    Parameters
    ----------
    run
        Id of the run, or a part of it; the newest without one.
    """
    record = find_run(open_store(settings()), run)
    if state_of(record) != "running" or record.pid is None:
        raise BadInput(f"run {record.id} is {state_of(record)}: there is nothing to stop")
    if record.host != socket.gethostname():
        raise BadInput(f"run {record.id} works on {record.host}: stop it there")
    os.kill(record.pid, signal.SIGTERM)
    print(f"run {record.id} was asked to stop; the command that started it continues it")
