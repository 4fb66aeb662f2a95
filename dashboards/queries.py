"""What the pages show, read from the catalog and the artifact store; nothing here draws or writes.

A page asks for what it shows and no more: the list of runs reads one page of rows without their
configurations, so that it opens as fast with a thousand runs as with ten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from components.artifacts.store import ArtifactStore
from components.catalog import queries, tables
from components.catalog.liveness import INTERRUPTED, present_state
from components.catalog.queries import ArtifactRow, AttemptRow, Lineage, Run, Step
from components.catalog.session import Catalog

FINAL = "success/greedy"
"""Score that stands for a run in the list."""

DIAGRAM = {
    "tokenizer": ("corpus",),
    "tasks": ("corpus",),
    "shards": ("tokenizer", "tasks"),
    "trajectories": ("tokenizer", "tasks"),
    "commonsense": ("shards",),
    "stem": ("commonsense",),
    "long_context": ("stem",),
    "agentic_base": ("long_context", "trajectories"),
    "assistant": ("agentic_base",),
    "agent": ("assistant",),
    "release": ("agent",),
}
"""Inputs of the pipeline's steps, drawn for a step that has no recorded inputs yet."""


@dataclass(frozen=True)
class RunSummary:
    """Hold one row of the list of runs; `success` is that of `scored`, the last checkpoint with
    scores, between 0 and 1.
    """

    id: str
    recipe: str
    state: str
    created: float
    seconds: float | None
    cause: str | None
    steps: tuple[Step, ...]
    success: float | None
    scored: str | None


@dataclass(frozen=True)
class RunPage:
    """Hold one page of runs and what the filters offer."""

    runs: tuple[RunSummary, ...]
    total: int
    recipes: tuple[str, ...]
    states: dict[str, int]
    """Runs by state, whatever the filter."""


@dataclass(frozen=True)
class RunDetail:
    """Hold one run with all that its page shows at once."""

    run: Run
    steps: tuple[Step, ...]
    attempts: tuple[AttemptRow, ...]
    artifacts: dict[str, ArtifactRow]
    """Finished steps to their artifacts."""
    edges: tuple[tuple[str, str], ...]
    """Pairs (input step, step), without those that a longer path implies."""

    @property
    def live(self) -> bool:
        """Whether anything may still change."""
        return self.run.state == "running"

    @property
    def settled(self) -> bool:
        """Whether nothing will change: any other run may be continued while its page is open."""
        return self.run.state == "done"


@dataclass(frozen=True)
class Progress:
    """Hold how far a running step has come, at UNIX seconds `time`."""

    done: float
    total: float
    unit: str
    time: float

    @property
    def share(self) -> float:
        """Part that is done, between 0 and 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


def run_page(
    catalog: Catalog,
    *,
    page: int = 1,
    size: int = 25,
    recipe: str | None = None,
    state: str | None = None,
) -> RunPage:
    """Read one page of runs, newest first; `page` counts from 1 and is brought into range."""
    table = tables.pipeline_runs
    wanted = [table.c.recipe == recipe] if recipe else []
    with catalog.read() as connection:
        dead = _interrupted(connection)
        wanted += [_in_state(state, dead)] if state else []
        total = connection.scalar(sa.select(sa.func.count()).select_from(table).where(*wanted)) or 0
        page = max(1, min(page, -(-total // size)))
        columns = [table.c[name] for name in ("id", "recipe", "state", "created", "seconds")]
        query = sa.select(*columns, table.c.cause).where(*wanted)
        query = query.order_by(table.c.created.desc(), table.c.id)
        rows = list(connection.execute(query.limit(size).offset((page - 1) * size)).mappings())
        recipes = connection.scalars(sa.select(table.c.recipe).distinct().order_by(table.c.recipe))
        names = tuple(recipes)
        counted = sa.select(table.c.state, sa.func.count()).group_by(table.c.state)
        counts = counted.order_by(table.c.state)
        states = {row[0]: row[1] for row in connection.execute(counts)}
    if dead:
        alive = states.pop("running") - len(dead)
        states |= {"running": alive, INTERRUPTED: len(dead)} if alive else {INTERRUPTED: len(dead)}
    steps = queries.steps_of_runs(catalog, [row["id"] for row in rows])
    success = _success(catalog, steps)
    runs = tuple(
        RunSummary(**row, steps=tuple(steps[row["id"]]), success=value, scored=checkpoint)
        for row in rows
        for value, checkpoint in [success.get(row["id"], (None, None))]
    )
    runs = tuple(
        replace(run, state=INTERRUPTED, steps=_interrupt(run.steps)) if run.id in dead else run
        for run in runs
    )
    return RunPage(runs, total, names, states)


def _interrupted(connection: Connection) -> set[str]:
    """Return the runs that say they are running although their process is gone."""
    table = tables.pipeline_runs
    query = sa.select(table.c.id, table.c.host, table.c.pid).where(table.c.state == "running")
    return {
        run_id
        for run_id, host, pid in connection.execute(query)
        if present_state("running", host, pid) == INTERRUPTED
    }


def _in_state(state: str, dead: set[str]) -> sa.ColumnElement[bool]:
    table = tables.pipeline_runs
    if state == INTERRUPTED:
        return table.c.id.in_(dead)
    return sa.and_(table.c.state == state, table.c.id.not_in(dead))


def _interrupt(steps: Iterable[Step]) -> tuple[Step, ...]:
    return tuple(
        replace(step, state=INTERRUPTED) if step.state == "running" else step for step in steps
    )


def _success(catalog: Catalog, steps: Mapping[str, Sequence[Step]]) -> dict[str, tuple[float, str]]:
    """Return the greedy success of each run's last scored checkpoint, and which one that is."""
    scored = {
        run_id: [s for s in of_run if s.stage == "evaluate" and s.key and s.digest]
        for run_id, of_run in steps.items()
    }
    wanted = {step.key for of_run in scored.values() for step in of_run}
    table = tables.artifacts
    query = sa.select(table.c.key, table.c.facts).where(table.c.key.in_(wanted))
    with catalog.read() as connection:
        facts: dict[str, dict[str, Any]] = {
            key: found for key, found in connection.execute(query) if found
        }
    success: dict[str, tuple[float, str]] = {}
    for run_id, of_run in scored.items():
        for step in of_run:
            value = facts.get(step.key or "", {}).get("scores", {}).get(FINAL)
            if value is not None:
                success[run_id] = value, step.step.removeprefix("scores.")
    return success


def run_detail(catalog: Catalog, run_id: str) -> RunDetail:
    """Read one run by id, the beginning of an id, or `latest`.

    Raises NotFound or BadInput as `components.catalog.queries.run` does.
    """
    run = queries.run(catalog, run_id)
    steps = tuple(queries.steps(catalog, run.id))
    attempts = queries.attempts_of_run(catalog, run.id)
    interrupted = present_state(run.state, run.host, run.pid) == INTERRUPTED
    if interrupted:
        run, steps = replace(run, state=INTERRUPTED), _interrupt(steps)
    return RunDetail(
        run=run,
        steps=steps,
        attempts=tuple(_lost(attempts, all_of_them=interrupted)),
        artifacts=queries.artifacts_of_run(catalog, run.id),
        edges=tuple(reduce_edges(_step_edges(catalog, steps))),
    )


def _lost(attempts: Sequence[AttemptRow], *, all_of_them: bool) -> Iterable[AttemptRow]:
    """Call attempts lost that say they run but have a successor, or whose run is interrupted."""
    newest = {one.key: one.number for one in sorted(attempts, key=lambda one: one.number)}
    for one in attempts:
        gone = all_of_them or one.number < newest[one.key]
        yield replace(one, state="lost") if gone and one.state == "running" else one


def _step_edges(catalog: Catalog, steps: Sequence[Step]) -> list[tuple[str, str]]:
    names = {step.step for step in steps}
    by_key = {step.key: step.step for step in steps if step.key}
    table = tables.artifact_inputs
    query = sa.select(table.c.key, table.c.input_step).where(table.c.key.in_(by_key))
    with catalog.read() as connection:
        edges = {(source, by_key[key]) for key, source in connection.execute(query)}
    known = {target for _, target in edges}
    for step in names - known:
        checkpoint = step.removeprefix("scores.")
        sources = (checkpoint,) if checkpoint != step else DIAGRAM.get(step, ())
        edges.update((source, step) for source in sources)
    return sorted(edge for edge in edges if edge[0] in names)


def reduce_edges(edges: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Leave out each edge of an acyclic graph that a longer path implies."""
    targets: dict[str, set[str]] = {}
    for source, target in edges:
        targets.setdefault(source, set()).add(target)
    below: dict[str, set[str]] = {}

    def reach(node: str) -> set[str]:
        if node not in below:
            below[node] = set()
            direct = targets.get(node, set())
            below[node] = direct.union(*(reach(child) for child in direct))
        return below[node]

    return sorted(
        (source, target)
        for source, direct in targets.items()
        for target in direct
        if not any(target in reach(other) for other in direct - {target})
    )


def step_progress(store: ArtifactStore, step: Step) -> Progress | None:
    """Read how far a running step has come; None before its first report."""
    if step.key is None or step.state != "running":
        return None
    attempts = store.attempts(step.stage, step.key)
    record = attempts[-1].record("progress") if attempts else None
    if not record or "total" not in record:
        return None
    return Progress(record["done"], record["total"], record["unit"], record["time"])


def artifact_lineage(catalog: Catalog, key: str) -> Lineage:
    """Read an artifact with all it was made of; raises NotFound or BadInput."""
    return queries.lineage(catalog, key)


def runs_using(catalog: Catalog, key: str, limit: int = 20) -> list[tuple[str, str, float]]:
    """List the newest runs with a step of this key: (id, recipe, created)."""
    run, step = tables.pipeline_runs, tables.step_runs
    query = (
        sa.select(run.c.id, run.c.recipe, run.c.created)
        .join(step, step.c.run_id == run.c.id)
        .where(step.c.key == key)
        .order_by(run.c.created.desc(), run.c.id, step.c.position)
        .limit(limit)
    )
    with catalog.read() as connection:
        return [(run_id, recipe, created) for run_id, recipe, created in connection.execute(query)]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested mappings into one with dotted names; lists stay values."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def config_difference(configs: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Return the fields in which configurations differ: dotted name to one value each, None where
    absent.
    """
    flat = [flatten(config) for config in configs]
    names = dict.fromkeys(name for config in flat for name in config)
    rows = {name: tuple(config.get(name) for config in flat) for name in names}
    return {
        name: values
        for name, values in rows.items()
        if any(value != values[0] for value in values[1:])
    }
