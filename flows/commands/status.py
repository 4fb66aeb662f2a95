"""`strata status`, `runs`, `cancel`: how far the runs are."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from typing import Any

from components.artifacts.store import ArtifactStore, open_store
from components.catalog.liveness import present_state, process_lives
from components.contract import BadInput, TryAgain
from components.settings import Settings, settings
from flows.commands.output import emit, say, table, when
from flows.display import MARKS, duration
from flows.pulse import ask_to_stop
from flows.runs import RunRecord, StepRecord, find_run, load_run, newest_first

PATIENCE_SECONDS = 60.0
"""How long `cancel` waits for a run that it cannot send a signal."""
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
    """Ask a run to stop, wherever its steps are made; they save resume points first.

    Parameters
    ----------
    run
        Id of the run, or a part of it; the newest without one.
    """
    here = settings()
    store = open_store(here)
    record = find_run(store, run)
    if record.state != "running":
        raise BadInput(f"run {record.id} is {record.state}: there is nothing to stop")
    if record.pid is not None and process_lives(record.host, record.pid):
        os.kill(record.pid, signal.SIGTERM)
        print(f"run {record.id} was asked to stop; the command that started it continues it")
        return
    ask_to_stop(store, record.id)
    say(f"run {record.id} works on {record.host}; waiting for it to stop")
    if not _wait_for_end(here, record.id):
        raise TryAgain(
            f"run {record.id} was asked to stop and has not answered within {PATIENCE_SECONDS:.0f} "
            f"s: it stops once {record.host} or `strata reconcile` sees the wish"
        )
    print(f"run {record.id} has stopped; the command that started it continues it")


def _wait_for_end(here: Settings, run_id: str) -> bool:
    """Return whether a run ends in time; one without an orchestrator is ended from here."""
    from flows.reconcile import Reconciler

    deadline = time.monotonic() + PATIENCE_SECONDS
    with closing(Reconciler(here)) as reconciler:
        while time.monotonic() < deadline:
            reconciler.round(only=run_id)
            record = load_run(reconciler.store, run_id)
            if record is None or record.state != "running":
                return True
            time.sleep(1.0)
    return False
