"""Make the catalog again from the store, which is the truth: runs, steps, attempts, artifacts,
failures included.

Events of the orchestrator are not in the store; those in the catalog are left as they are.
"""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from components.artifacts.store import ArtifactStore, Attempt
from components.catalog import record, tables
from components.catalog.record import AttemptState
from components.catalog.session import Catalog, open_catalog
from components.contract import StageFailure

RUN_FIELDS = ("recipe", "state", "created", "ended", "seconds", "host", "pid", "cause")
FRESH_SECONDS = 60.0
"""Age of a heartbeat up to which an attempt without a result counts as running."""
STEP_FIELDS = (
    *("position", "stage", "key", "state", "reason"),
    *("started", "ended", "digest", "attempt", "cause"),
)


def rebuild(catalog: Catalog, store: ArtifactStore) -> dict[str, int]:
    """Fill the catalog from the store and return how many runs, attempts and artifacts it holds.

    Rows of the catalog that the store does not know are removed, since where they disagree the
    store is right.
    """
    with catalog.write() as connection:
        for table in (tables.artifact_inputs, tables.artifacts, tables.attempts, tables.step_runs):
            connection.execute(sa.delete(table))
        connection.execute(sa.delete(tables.pipeline_runs))
    counts = {"runs": 0, "attempts": 0, "artifacts": 0}
    for run_id in store.objects.names("runs"):
        counts["runs"] += _run(catalog, store, run_id)
    for stage, key in sorted(store.keys()):
        manifest = store.manifest(stage, key)
        for attempt in store.attempts(stage, key):
            counts["attempts"] += 1
            adopted = manifest is not None and manifest.attempt == attempt.number
            _attempt(catalog, attempt, adopted)
        if manifest is not None:
            counts["artifacts"] += 1
            record.record_artifact(catalog, manifest, store.address(manifest))
    return counts


def tell_again(url: str, store: ArtifactStore, run_id: str) -> bool:
    """Tell the catalog at a URL what the store knows of a run; False where it does not take it."""
    try:
        with closing(open_catalog(url)) as catalog:
            return _run(catalog, store, run_id)
    except (SQLAlchemyError, StageFailure):
        return False


def _run(catalog: Catalog, store: ArtifactStore, run_id: str) -> bool:
    data = store.objects.read(f"runs/{run_id}/run.json")
    try:
        run: dict[str, Any] = json.loads(data or b"")
    except ValueError:
        return False
    links: dict[str, str] = run.get("links", {})
    values: Any = {name: run[name] for name in RUN_FIELDS if name in run}
    record.record_run(
        catalog,
        run_id,
        **values,
        recipe_digest=run.get("identity", ""),
        resolved_config=run.get("resolved", {}),
        flow_run_id=links.get("prefect_flow_run"),
        mlflow_run_id=links.get("mlflow_run"),
    )
    for name, step in run.get("steps", {}).items():
        known: Any = {field: step[field] for field in STEP_FIELDS if field in step}
        record.record_step(catalog, run_id, name, **known)
    return True


def _attempt(catalog: Catalog, attempt: Attempt, adopted: bool) -> None:
    request = attempt.record("request") or {}
    result = attempt.record("result") or {}
    progress = attempt.record("progress") or {}
    code: int | None = result.get("code")
    record.record_attempt(
        catalog,
        attempt.key,
        attempt.number,
        stage=attempt.stage,
        run_id=request.get("run"),
        step=request.get("step"),
        state=_state(code, adopted, progress.get("time", 0.0)),
        pid=progress.get("pid"),
        started=attempt.published_at(),
        ended=result.get("ended"),
        exit_code=code,
        cause=result.get("cause"),
    )


def _state(code: int | None, adopted: bool, heartbeat: float) -> AttemptState:
    """Read an attempt's state from its exit code; one without runs or died before it could write
    one.
    """
    if adopted or code == 0:
        return "done"
    if code is None:
        return "running" if time.time() - heartbeat < FRESH_SECONDS else "lost"
    return "stopped" if code in {130, 143} else "failed"
