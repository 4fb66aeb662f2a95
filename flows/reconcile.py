"""Make the records agree with what is there: who is dead, who lives on unwatched, who is fenced.

A run is closed when its orchestrator is proved dead: its process is gone from this machine, or
Prefect says that its flow run has ended. Steps whose artifact exists are recorded as done, attempts
that live on are left running for the next command to follow, and the rest is closed with its cause
and last lines. On a cluster, attempts that nobody can use any more are ended. What cannot be seen
is left alone. Doing it twice changes nothing, and two at once take turns by the lock of each run.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from components.artifacts.store import ArtifactStore, Attempt, open_store
from components.catalog.liveness import INTERRUPTED, present_state
from components.contract import StageFailure, TryAgain
from components.execution.launch import Launcher
from components.settings import Settings
from flows.register import Register
from flows.run import open_launcher
from flows.runs import RunRecord, StepRecord, load_run, newest_first, run_lock
from flows.servers import prefect_url

FRESH_SECONDS = 30.0
"""Age up to which a heartbeat, due every two seconds, counts as a sign of life."""
LAST_LINES = 3
CLOSED_CAUSE = "its orchestrator died; the same command continues it"

Action = Literal["closed", "adopted", "left running", "fenced", "left alone"]


@dataclass(frozen=True)
class Finding:
    """Say what was done about a run, a step or an attempt, and why."""

    run: str
    step: str
    action: Action
    why: str


def reconcile(settings: Settings, *, dry_run: bool = False) -> list[Finding]:
    """Close what is proved dead, adopt what was made, fence what should not live; return all of it.

    With `dry_run` nothing is changed.
    """
    store = open_store(settings)
    launcher = open_launcher(settings, store)
    try:
        found: list[Finding] = []
        for record in newest_first(store):
            if record.state == "running":
                found += _about_run(settings, store, launcher, record, dry_run)
        found += _fence(store, launcher, dry_run)
    finally:
        launcher.close()
    if found and not dry_run:
        _tell_mlflow(settings)
    return found


def _about_run(
    settings: Settings, store: ArtifactStore, launcher: Launcher, record: RunRecord, dry_run: bool
) -> list[Finding]:
    dead = _death(settings, record)
    if dead is None:
        return []
    try:
        with run_lock(settings, record.id):
            now = load_run(store, record.id)
            if now is None or now.state != "running" or _death(settings, now) is None:
                return []
            found = [_about_step(store, launcher, now.id, *item) for item in now.steps.items()]
            findings = [each for each in found if each is not None]
            findings.append(Finding(now.id, "", "closed", dead))
            if not dry_run:
                _close(settings, store, now, findings)
            return findings
    except TryAgain:
        return []  # an orchestrator is at work on it, or another reconciler


def _death(settings: Settings, record: RunRecord) -> str | None:
    """Return how it is known that a run's orchestrator is gone; None where it is not."""
    if present_state(record.state, record.host, record.pid) == INTERRUPTED:
        return f"process {record.pid} is gone"
    if record.host == socket.gethostname():
        return None
    state = _prefect_state(settings, record)
    if state in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}:
        return f"Prefect says its flow run is {state.lower()}"
    return None


def _about_step(
    store: ArtifactStore, launcher: Launcher, run: str, name: str, step: StepRecord
) -> Finding | None:
    if step.state != "running" or not step.key:
        return None
    manifest = store.manifest(step.stage, step.key)
    if manifest is not None:
        return Finding(run, name, "adopted", f"attempt {manifest.attempt} has made its artifact")
    attempts = store.attempts(step.stage, step.key)
    if not attempts:
        return Finding(run, name, "closed", "no attempt was started")
    newest = attempts[-1]
    if launcher.find(step.stage, step.key, newest.number) is not None:
        return Finding(run, name, "left running", f"attempt {newest.number} lives")
    if time.time() - _last_sign(newest) < FRESH_SECONDS:
        return Finding(run, name, "left running", f"attempt {newest.number} still beats")
    return Finding(run, name, "closed", _last_words(newest))


def _close(
    settings: Settings, store: ArtifactStore, record: RunRecord, findings: list[Finding]
) -> None:
    """Write the findings about one run into its record, the catalog and Prefect."""
    register = Register(store, record, settings.catalog_url)
    about = {each.step: each for each in findings if each.step}
    for name, step in record.steps.items():
        finding = about.get(name)
        if step.state == "pending":
            register.step(name, state="skipped")
        elif finding is not None and finding.action == "adopted":
            manifest = store.manifest(step.stage, step.key or "")
            assert manifest is not None
            register.artifact(manifest)
            register.step(
                name,
                state="done",
                digest=manifest.digest,
                attempt=manifest.attempt,
                ended=manifest.ended,
            )
            _end_attempt(register, step, manifest.attempt, "done", "")
        elif finding is not None:
            register.step(name, state="stopped", ended=time.time(), cause=finding.why)
            if finding.action == "closed" and step.attempt:
                _end_attempt(register, step, step.attempt, "lost", finding.why)
    register.finish("stopped", CLOSED_CAUSE)
    register.close()
    _close_in_prefect(settings, record)


def _end_attempt(register: Register, step: StepRecord, number: int, state: str, cause: str) -> None:
    register.attempt(
        step.key or "",
        number,
        stage=step.stage,
        run_id=register.run.id,
        state=state,
        ended=time.time(),
        cause=cause or None,
    )


def _fence(store: ArtifactStore, launcher: Launcher, dry_run: bool) -> Iterator[Finding]:
    """End attempts on the cluster that a newer one, or a committed artifact, has made useless."""
    handles = getattr(launcher, "handles", None)
    if handles is None:
        return
    for handle in handles():
        manifest = store.manifest(handle.stage, handle.key)
        newest = store.fence(handle.stage, handle.key)
        if launcher.find(handle.stage, handle.key, handle.attempt) is None:
            continue
        if manifest is not None and manifest.attempt != handle.attempt:
            why = f"attempt {manifest.attempt} has made the artifact"
        elif newest > handle.attempt:
            why = f"attempt {newest} took over"
        else:
            continue
        if not dry_run:
            launcher.cancel(handle)
        request = store.attempt(handle.stage, handle.key, handle.attempt).record("request") or {}
        yield Finding(request.get("run", ""), request.get("step", handle.stage), "fenced", why)


def _last_sign(attempt: Attempt) -> float:
    progress = attempt.record("progress") or {}
    return float(progress.get("time") or attempt.published_at() or 0.0)


def _last_words(attempt: Attempt) -> str:
    """Return why an attempt ended, as far as it could say, and the last lines of its log."""
    result = attempt.record("result") or {}
    cause = result.get("cause") or f"attempt {attempt.number} fell silent"
    log = attempt.fetch_log()
    lines = log.read_text("utf-8", "replace").splitlines()[-LAST_LINES:] if log.is_file() else []
    return "; ".join([cause, *lines])


def _prefect_state(settings: Settings, record: RunRecord) -> str:
    """Return the state of a run's flow run in Prefect; empty where it cannot be known."""
    flow_run = record.links.get("prefect_flow_run")
    url = _server(settings)
    if not flow_run or not url:
        return ""
    with suppress(Exception):  # what cannot be seen is no proof
        return asyncio.run(_ask(url, flow_run, None))
    return ""


def _close_in_prefect(settings: Settings, record: RunRecord) -> None:
    flow_run = record.links.get("prefect_flow_run")
    url = _server(settings)
    if flow_run and url:
        with suppress(Exception):  # Prefect is a view; its own zombie automation comes later
            asyncio.run(_ask(url, flow_run, CLOSED_CAUSE))


def _server(settings: Settings) -> str | None:
    with suppress(StageFailure):
        return prefect_url(settings)
    return None


async def _ask(url: str, flow_run: str, close_with: str | None) -> str:
    """Return a flow run's state, and end one that still counts as running where asked to."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from prefect.states import Crashed

    with temporary_settings({PREFECT_API_URL: url}):
        async with get_client() as client:
            state: Any = (await client.read_flow_run(UUID(flow_run))).state
            if close_with and state is not None and not state.is_final():
                crashed: Any = Crashed(message=close_with)
                await client.set_flow_run_state(UUID(flow_run), crashed, force=True)
            return state.type.value if state else ""


def _tell_mlflow(settings: Settings) -> None:
    from flows.shipping import catch_up

    with suppress(Exception):  # MLflow is a view; whoever ships next sends it
        catch_up(settings)
