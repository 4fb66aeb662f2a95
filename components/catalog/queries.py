"""Read the catalog: typed rows for the command line and the dashboard."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from components.catalog import tables
from components.catalog.session import Catalog, open_catalog
from components.contract import BadInput, NotFound, StageFailure


@dataclass(frozen=True)
class Run:
    """Hold one pipeline run; times are UNIX seconds."""

    id: str
    recipe: str
    state: str
    created: float
    ended: float | None
    seconds: float | None
    recipe_digest: str
    resolved_config: dict[str, Any]
    flow_run_id: str | None
    mlflow_run_id: str | None
    host: str | None
    pid: int | None
    cause: str | None


@dataclass(frozen=True)
class Step:
    """Hold one step of a run; `reason` says why it ran or was cached, `cause` why it failed."""

    run_id: str
    step: str
    position: int
    stage: str
    key: str | None
    state: str
    reason: str | None
    started: float | None
    ended: float | None
    digest: str | None
    attempt: int | None
    cause: str | None


@dataclass(frozen=True)
class AttemptRow:
    """Hold one attempt at a key."""

    key: str
    number: int
    stage: str
    fence: int
    run_id: str | None
    step: str | None
    state: str
    host: str | None
    pid: int | None
    started: float | None
    ended: float | None
    exit_code: int | None
    cause: str | None


@dataclass(frozen=True)
class ArtifactRow:
    """Hold one committed artifact; `condemned` is when it was found damaged."""

    key: str
    stage: str
    step: str
    digest: str
    created: float
    seconds: float
    bytes: int
    facts: dict[str, Any]
    uri: str
    run_id: str | None
    attempt: int
    condemned: float | None


@dataclass(frozen=True)
class InputRow:
    """Hold one edge of the lineage: the artifact `key` was made of `input_key`."""

    key: str
    position: int
    name: str
    input_stage: str
    input_step: str
    input_key: str
    input_digest: str


@dataclass(frozen=True)
class Lineage:
    """Hold an artifact, all it was made of, all that was made of it, and the edges between
    them.
    """

    artifact: ArtifactRow
    ancestors: list[ArtifactRow]
    descendants: list[ArtifactRow]
    edges: list[InputRow]


@dataclass(frozen=True)
class Event:
    """Hold something that happened once."""

    id: int
    time: float
    run_id: str | None
    step: str | None
    name: str
    details: dict[str, Any]


_Row = TypeVar("_Row", Run, Step, AttemptRow, ArtifactRow, InputRow, Event)


def runs(
    catalog: Catalog, limit: int = 100, *, recipe: str | None = None, state: str | None = None
) -> list[Run]:
    """List the newest runs first, at most `limit`."""
    table = tables.pipeline_runs
    query = sa.select(table).order_by(table.c.created.desc(), table.c.id).limit(limit)
    if recipe is not None:
        query = query.where(table.c.recipe == recipe)
    if state is not None:
        query = query.where(table.c.state == state)
    return _rows(catalog, Run, query)


def run(catalog: Catalog, run_id: str) -> Run:
    """Return the run whose id is or begins with `run_id`; `latest` is the newest.

    Raises NotFound where there is none and BadInput where several begin so.
    """
    if run_id == "latest":
        found = runs(catalog, 1)
    else:
        table = tables.pipeline_runs
        begins = table.c.id.startswith(run_id, autoescape=True)
        found = _rows(catalog, Run, sa.select(table).where(begins).limit(3))
        found = [each for each in found if each.id == run_id] or found
    if not found:
        raise NotFound(f"there is no run {run_id}: `strata runs` lists them")
    if len(found) > 1:
        raise BadInput(f"several runs begin with {run_id}: give more digits")
    return found[0]


def unfinished_run(catalog: Catalog, recipe_digest: str) -> Run | None:
    """Return the newest run of an equal resolved recipe that has not ended well, if any."""
    table = tables.pipeline_runs
    query = (
        sa.select(table)
        .where(table.c.recipe_digest == recipe_digest)
        .order_by(table.c.created.desc(), table.c.id)
        .limit(1)
    )
    found = _rows(catalog, Run, query)
    return found[0] if found and found[0].state != "done" else None


def steps(catalog: Catalog, run_id: str) -> list[Step]:
    """List the steps of a run in the order of its recipe."""
    table = tables.step_runs
    query = sa.select(table).where(table.c.run_id == run_id).order_by(table.c.position)
    return _rows(catalog, Step, query)


def steps_of_runs(catalog: Catalog, run_ids: Iterable[str]) -> dict[str, list[Step]]:
    """List the steps of several runs in one query, by run id."""
    table = tables.step_runs
    wanted = list(run_ids)
    query = sa.select(table).where(table.c.run_id.in_(wanted)).order_by(table.c.position)
    found: dict[str, list[Step]] = {run_id: [] for run_id in wanted}
    for step in _rows(catalog, Step, query):
        found[step.run_id].append(step)
    return found


def attempts(catalog: Catalog, key: str) -> list[AttemptRow]:
    """List the attempts at a key, oldest first."""
    table = tables.attempts
    query = sa.select(table).where(table.c.key == key).order_by(table.c.number)
    return _rows(catalog, AttemptRow, query)


def attempts_of_run(catalog: Catalog, run_id: str) -> list[AttemptRow]:
    """List the attempts at every key that a run's steps have, oldest first."""
    table = tables.attempts
    keys = sa.select(tables.step_runs.c.key).where(tables.step_runs.c.run_id == run_id)
    order = (table.c.started.nulls_first(), table.c.key, table.c.number)
    query = sa.select(table).where(table.c.key.in_(keys)).order_by(*order)
    return _rows(catalog, AttemptRow, query)


def said_to_run(url: str) -> tuple[list[str], list[AttemptRow]]:
    """Return which runs, by id, and which attempts are said to run; none while the database is
    away.
    """
    runs, attempts = tables.pipeline_runs, tables.attempts
    try:
        with closing(open_catalog(url)) as catalog, catalog.read() as connection:
            ids = connection.scalars(sa.select(runs.c.id).where(runs.c.state == "running")).all()
            query = sa.select(attempts).where(attempts.c.state == "running")
            return list(ids), _select(connection, AttemptRow, query)
    except (SQLAlchemyError, StageFailure):
        return [], []


def artifact(catalog: Catalog, key: str) -> ArtifactRow:
    """Return the artifact whose key or digest begins with `key`.

    Raises NotFound where there is none and BadInput where several begin so.
    """
    table = tables.artifacts
    begins = sa.or_(
        table.c.key.startswith(key, autoescape=True),
        table.c.digest.startswith(key, autoescape=True),
    )
    found = _rows(catalog, ArtifactRow, sa.select(table).where(begins).limit(3))
    found = [each for each in found if each.key == key] or found
    if not found:
        raise NotFound(f"the catalog has no artifact {key}")
    if len(found) > 1:
        raise BadInput(f"several artifacts begin with {key}: give more digits")
    return found[0]


def artifacts(
    catalog: Catalog, *, stage: str | None = None, step: str | None = None, limit: int = 500
) -> list[ArtifactRow]:
    """List committed artifacts, the newest first, without condemned ones."""
    table = tables.artifacts
    query = sa.select(table).where(table.c.condemned.is_(None))
    if stage is not None:
        query = query.where(table.c.stage == stage)
    if step is not None:
        query = query.where(table.c.step == step)
    return _rows(
        catalog, ArtifactRow, query.order_by(table.c.created.desc(), table.c.key).limit(limit)
    )


def artifact_of_step(catalog: Catalog, run_id: str, step: str) -> ArtifactRow | None:
    """Return the artifact that a step of a run made or reused, or None before it has one."""
    return artifacts_of_run(catalog, run_id).get(step)


def artifacts_of_run(catalog: Catalog, run_id: str) -> dict[str, ArtifactRow]:
    """Return the artifact of every finished step of a run, by step."""
    step, table = tables.step_runs, tables.artifacts
    named = sa.select(step.c.step, step.c.key).where(
        step.c.run_id == run_id, step.c.state.in_(("done", "cached"))
    )
    with catalog.read() as connection:
        keys = {name: key for name, key in connection.execute(named) if key is not None}
        found = _select(
            connection, ArtifactRow, sa.select(table).where(table.c.key.in_(keys.values()))
        )
    by_key = {row.key: row for row in found}
    return {name: by_key[key] for name, key in keys.items() if key in by_key}


def inputs(catalog: Catalog, key: str) -> list[InputRow]:
    """List what an artifact was made of, in the order of its stage's inputs."""
    table = tables.artifact_inputs
    query = sa.select(table).where(table.c.key == key).order_by(table.c.position)
    return _rows(catalog, InputRow, query)


def lineage(catalog: Catalog, key: str) -> Lineage:
    """Return an artifact with its ancestors and descendants, each list oldest first.

    Raises NotFound or BadInput as `artifact` does.
    """
    table, edge = tables.artifacts, tables.artifact_inputs
    start = artifact(catalog, key)
    with catalog.read() as connection:
        above, edges = _walk(connection, start.key, edge.c.key, "input_key")
        below, edges_below = _walk(connection, start.key, edge.c.input_key, "key")
        query = sa.select(table).order_by(table.c.created, table.c.key)
        ancestors = _select(connection, ArtifactRow, query.where(table.c.key.in_(above)))
        descendants = _select(connection, ArtifactRow, query.where(table.c.key.in_(below)))
    return Lineage(start, ancestors, descendants, edges + edges_below)


def events(
    catalog: Catalog, run_id: str | None = None, *, after: int = 0, limit: int = 1000
) -> list[Event]:
    """List events with an id above `after`, oldest first; of one run, or of all."""
    table = tables.events
    query = sa.select(table).where(table.c.id > after).order_by(table.c.id).limit(limit)
    if run_id is not None:
        query = query.where(table.c.run_id == run_id)
    return _rows(catalog, Event, query)


def _walk(
    connection: Connection, start: str, known: sa.Column[Any], follow: str
) -> tuple[set[str], list[InputRow]]:
    seen, frontier = {start}, {start}
    edges: list[InputRow] = []
    table = tables.artifact_inputs
    query = sa.select(table).order_by(table.c.key, table.c.position)
    while frontier:
        found = _select(connection, InputRow, query.where(known.in_(frontier)))
        edges += found
        frontier = {getattr(edge, follow) for edge in found} - seen
        seen |= frontier
    return seen - {start}, edges


def _rows(catalog: Catalog, kind: type[_Row], query: sa.Select[Any]) -> list[_Row]:
    with catalog.read() as connection:
        return _select(connection, kind, query)


def _select(connection: Connection, kind: type[_Row], query: sa.Select[Any]) -> list[_Row]:
    return [kind(**row) for row in connection.execute(query).mappings()]
