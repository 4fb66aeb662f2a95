"""Write the catalog; only flows call this.

Every function is an upsert, so that a rerun, the reconciler and `rebuild` may say the same thing
again. Fields that are not given keep their value. What PostgreSQL could not hold is replaced on
both databases: NUL characters and halves of surrogate pairs in text, NaN and infinity in JSON.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Literal, TypedDict, Unpack

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from components.artifacts.manifest import Manifest
from components.catalog import tables
from components.catalog.session import Catalog

RunState = Literal["running", "done", "failed", "stopped"]
StepState = Literal["pending", "cached", "running", "done", "failed", "stopped", "skipped"]
AttemptState = Literal["running", "done", "failed", "stopped", "lost"]


class NewRun(TypedDict, total=False):
    """Name what may be said about a run when it starts or while it goes."""

    recipe: str
    state: RunState
    created: float
    ended: float | None
    seconds: float | None
    recipe_digest: str
    resolved_config: Mapping[str, Any]
    flow_run_id: str | None
    mlflow_run_id: str | None
    host: str | None
    pid: int | None
    cause: str | None


class StepChanges(TypedDict, total=False):
    """Name what may be said about one step of a run; `position` is its place in the recipe."""

    position: int
    stage: str
    key: str | None
    state: StepState
    reason: str | None
    started: float | None
    ended: float | None
    digest: str | None
    attempt: int | None
    cause: str | None


class AttemptChanges(TypedDict, total=False):
    """Name what may be said about one attempt at a key."""

    stage: str
    fence: int
    run_id: str | None
    step: str | None
    state: AttemptState
    host: str | None
    pid: int | None
    started: float | None
    ended: float | None
    exit_code: int | None
    cause: str | None


def record_run(catalog: Catalog, run_id: str, /, **changes: Unpack[NewRun]) -> None:
    """Say that a run exists or has changed; a new one is `running` from now on."""
    defaults = {
        "recipe": "",
        "state": "running",
        "created": time.time(),
        "recipe_digest": "",
        "resolved_config": {},
    }
    with catalog.write() as connection:
        _upsert(connection, tables.pipeline_runs, {"id": run_id}, changes, defaults)


def finish_run(
    catalog: Catalog,
    run_id: str,
    state: RunState,
    *,
    cause: str | None = None,
    ended: float | None = None,
    seconds: float | None = None,
) -> None:
    """Close a run: its end is now unless `ended` says another time, and `seconds` is the time that
    was worked on it, without `seconds` all the time since it was created.
    """
    runs = tables.pipeline_runs
    end = time.time() if ended is None else ended
    with catalog.write() as connection:
        connection.execute(
            sa.update(runs)
            .where(runs.c.id == run_id)
            .values(
                state=state,
                ended=end,
                seconds=end - runs.c.created if seconds is None else seconds,
                cause=_storable(cause),
                pid=None,
            )
        )


def record_step(
    catalog: Catalog, run_id: str, step: str, /, **changes: Unpack[StepChanges]
) -> None:
    """Say what is known about a step of a run; a new one is `pending`, after those before it."""
    steps = tables.step_runs
    with catalog.write() as connection:
        count = sa.select(sa.func.count()).where(steps.c.run_id == run_id)
        defaults = {"position": connection.scalar(count), "stage": step, "state": "pending"}
        _upsert(connection, steps, {"run_id": run_id, "step": step}, changes, defaults)


def record_attempt(
    catalog: Catalog, key: str, number: int, /, **changes: Unpack[AttemptChanges]
) -> None:
    """Say what is known about an attempt; a new one is `running`, and its number is its fence."""
    defaults = {"stage": "", "fence": number, "state": "running"}
    with catalog.write() as connection:
        _upsert(connection, tables.attempts, {"key": key, "number": number}, changes, defaults)


def record_artifact(catalog: Catalog, manifest: Manifest, uri: str = "") -> None:
    """Say that an artifact is committed; `uri` is where its files lie."""
    inputs = tables.artifact_inputs
    values: dict[str, Any] = {
        "stage": manifest.stage,
        "step": manifest.step,
        "digest": manifest.digest,
        "created": manifest.ended,
        "seconds": manifest.seconds,
        "bytes": manifest.bytes,
        "facts": manifest.facts,
        "uri": uri,
        "run_id": manifest.run,
        "attempt": manifest.attempt,
        "condemned": None,
    }
    rows = [
        {
            "key": manifest.key,
            "position": position,
            "name": record.name,
            "input_stage": record.stage,
            "input_step": record.step,
            "input_key": record.key,
            "input_digest": record.digest,
        }
        for position, record in enumerate(manifest.inputs)
    ]
    with catalog.write() as connection:
        _upsert(connection, tables.artifacts, {"key": manifest.key}, values, {})
        connection.execute(sa.delete(inputs).where(inputs.c.key == manifest.key))
        if rows:
            connection.execute(sa.insert(inputs), rows)


def condemn_artifact(catalog: Catalog, key: str, found: float | None = None) -> None:
    """Say that an artifact was found damaged and set aside, now unless `found` says another time;
    recording it again lifts that.
    """
    artifacts = tables.artifacts
    when = time.time() if found is None else found
    with catalog.write() as connection:
        connection.execute(
            sa.update(artifacts).where(artifacts.c.key == key).values(condemned=when)
        )


def event(
    catalog: Catalog,
    name: str,
    /,
    *,
    run_id: str | None,
    step: str | None = None,
    at: float | None = None,
    **details: Any,
) -> None:
    """Append something that happened once; `details` is anything JSON can hold.

    With its time `at` it may be said again: a row of that time, run and name is not doubled.
    """
    events = tables.events
    row = {
        "time": time.time() if at is None else at,
        "run_id": run_id,
        "step": step,
        "name": name,
        "details": _storable(details),
    }
    same = sa.select(events.c.id).where(
        events.c.run_id.is_not_distinct_from(run_id),
        events.c.name == name,
        events.c.time == row["time"],
    )
    with catalog.write() as connection:
        if at is None or connection.execute(same).first() is None:
            connection.execute(sa.insert(events), row)


def _upsert(
    connection: Connection,
    table: sa.Table,
    key: Mapping[str, Any],
    changes: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> None:
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    given: dict[str, Any] = {name: _storable(value) for name, value in changes.items()}
    statement = make(table).values({**defaults, **given, **key})
    if given:
        statement = statement.on_conflict_do_update(index_elements=list(key), set_=given)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=list(key))
    connection.execute(statement)


def _storable(value: Any, *, inside: bool = False) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_storable(k): _storable(v, inside=True) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(each, inside=True) for each in value]
    if inside and isinstance(value, float) and not math.isfinite(value):
        return None
    return value
