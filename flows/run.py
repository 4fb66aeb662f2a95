"""Start, continue and end a run: plan, find the run to continue, make what is missing, sum up.

The same command resumes: an unfinished run of an equal recipe goes on under its id. Where nothing
is missing the answer comes from the store alone, before Prefect or torch is imported.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from components.artifacts.manifest import Manifest
from components.artifacts.store import ArtifactStore, open_store
from components.contract import BadInput, NotFound, Resources, Stage, StageConfig
from components.execution.in_process import InProcessLauncher
from components.execution.launch import Launcher
from components.execution.local_process import LocalProcessLauncher
from components.settings import Settings
from flows.attempts import Interrupted
from flows.board import Board, StepView
from flows.context import Run
from flows.overlay import suggest
from flows.plan import Plan, PlannedStep, Planner
from flows.preflight import refuse_full, refuse_missing
from flows.pulse import pulse
from flows.register import Register
from flows.runs import RunRecord, StepRecord, new_id, run_lock, run_with

Pipeline = Callable[[Any], Any]
"""Takes a `step` (see `flows.pipeline.Step`) and calls it for every line of the diagram."""
Engine = Callable[[Run, Pipeline], None]
"""Walks the pipeline with a `step` that makes artifacts; raises the first failure."""


Watcher = Callable[[Run], AbstractContextManager[Any]]
"""Opens what goes along with a run: its display, or what sends it to MLflow."""


def _unseen(run: Run) -> AbstractContextManager[Any]:
    del run
    return nullcontext()


@dataclass(frozen=True)
class Job:
    """Ask for a pipeline, or a part of it."""

    name: str
    pipeline: Pipeline
    resolved: Mapping[str, Any]
    identity: str
    resources_of: Callable[[str], Resources]
    table: str
    """`module:mapping` of the pipeline's stages by name."""
    kind: Literal["pipeline", "evaluation", "release", "ablation"] = "pipeline"
    until: str = ""
    """Last step to make, or several separated by commas; empty means all."""
    new: bool = False
    """Start another run although one could be continued or is finished."""
    accept_stale: frozenset[str] = frozenset()
    pinned: Mapping[str, Manifest] = field(default_factory=dict[str, Manifest])
    """Artifacts to use as they are, by step, whatever has changed since."""


@dataclass(frozen=True)
class Outcome:
    """Say what a command has done about a job."""

    record: RunRecord
    executed: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()
    seconds: float = 0.0
    links: Mapping[str, str] = field(default_factory=dict[str, str])


def make_plan(job: Job, store: ArtifactStore) -> Plan:
    """Plan the job's steps; raises NotFound for an unknown last step."""
    planner = Planner(
        store,
        accept_stale=job.accept_stale,
        pinned=job.pinned,
        resources_of=job.resources_of,
    )
    job.pipeline(planner)
    plan = Plan(planner.steps)
    last = [name for name in job.until.split(",") if name]
    unknown = [name for name in (*last, *job.accept_stale) if name not in plan.steps]
    if unknown:
        best = suggest(unknown[0], plan.steps)
        hint = f" Did you mean {best[0]}?" if best else ""
        raise NotFound(f"there is no step {unknown[0]!r}.{hint} Steps: {', '.join(plan.steps)}.")
    return plan.only(set().union(*map(plan.ancestors, last))) if last else plan


def carry_out(
    job: Job,
    settings: Settings,
    plan: Plan,
    *,
    engine: Engine,
    watcher: Watcher,
    shipper: Watcher = _unseen,
) -> Outcome:
    """Make what the plan lacks and return what was done; `shipper` sends the run to MLflow.

    Raises StepFailed, Interrupted, TryAgain where another process works on the same run, and
    EnvironmentMissing where this machine lacks what a step needs.
    """
    started = time.time()
    store = open_store(settings)
    record = _record_for(job, store, plan)
    if not plan.pending:
        if record.state != "done":
            record = _all_cached(store, settings, record, plan)
        return Outcome(record, (), tuple(plan.cached), time.time() - started, record.links)
    refuse_missing(plan, job.resources_of, settings)
    with run_lock(settings, record.id):
        run = _open_run(job, settings, store, record, plan)
        try:
            with shipper(run):  # outside, so that it sends the final state too
                return _work(run, job.pipeline, engine, watcher, started)
        except Exception as error:
            refuse_full(settings.home, error)
            raise
        finally:
            run.register.close()


def _record_for(job: Job, store: ArtifactStore, plan: Plan) -> RunRecord:
    """Return the run to continue or repeat, or a new record that is not written yet."""
    if not job.new:
        earlier = run_with(store, job.identity, job.until, finished=not plan.pending)
        earlier = earlier or run_with(store, job.identity, job.until, finished=False)
        if earlier is not None:
            return earlier
    return RunRecord(
        id=new_id(job.name),
        recipe=job.name,
        kind=job.kind,
        identity=job.identity,
        resolved=dict(job.resolved),
        until=job.until,
        created=time.time(),
    )


def _step_records(plan: Plan, record: RunRecord) -> dict[str, StepRecord]:
    """Return the steps of a run as planned; what a continued run knows of a step is kept."""
    steps: dict[str, StepRecord] = {}
    for position, (name, planned) in enumerate(plan.steps.items()):
        known = record.steps.get(name)
        if planned.state == "cached" and known is not None and known.digest == planned.digest:
            steps[name] = known
        else:
            steps[name] = _planned_record(position, planned)
    return steps


def _planned_record(position: int, planned: PlannedStep) -> StepRecord:
    manifest = planned.manifest
    return StepRecord(
        position=position,
        stage=planned.stage.name,
        state="cached" if manifest else "pending",
        reason="; ".join(planned.reasons),
        key=planned.key,
        digest=planned.digest,
        attempt=manifest.attempt if manifest else None,
        started=manifest.started if manifest else None,
        ended=manifest.ended if manifest else None,
    )


def _all_cached(
    store: ArtifactStore, settings: Settings, record: RunRecord, plan: Plan
) -> RunRecord:
    """Write down a run for which everything was there."""
    with run_lock(settings, record.id):
        register = Register(store, record, settings.catalog_url)
        register.start(_step_records(plan, record), host=socket.gethostname(), pid=os.getpid())
        for step in plan.steps.values():
            if step.manifest is not None:
                register.artifact(step.manifest)
        register.finish("done")
        register.close()
        return register.run


def _open_run(
    job: Job, settings: Settings, store: ArtifactStore, record: RunRecord, plan: Plan
) -> Run:
    register = Register(store, record, settings.catalog_url)
    register.start(
        _step_records(plan, record),
        host=socket.gethostname(),
        pid=os.getpid(),
        commit=_commit(),
        exceptions=tuple(sorted({e for step in plan.steps.values() for e in step.exceptions})),
    )
    views = {
        name: StepView(name, "cached" if step.state == "cached" else "pending")
        for name, step in plan.steps.items()
    }
    return Run(
        settings=settings,
        store=store,
        launcher=open_launcher(settings, store),
        register=register,
        board=Board(views),
        plan=plan,
        resources={name: job.resources_of(name) for name in plan.steps},
        table=job.table,
        wanted=frozenset(plan.steps),
        slots=threading.BoundedSemaphore(settings.slots),
    )


def open_launcher(settings: Settings, store: ArtifactStore) -> Launcher:
    """Open the launcher that the settings name; raises BadInput for another name."""
    if settings.launcher == "kubernetes":
        from components.execution.cluster_settings import read_cluster
        from components.execution.kubernetes import KubernetesLauncher

        return KubernetesLauncher(read_cluster(settings), store.objects)
    if settings.launcher == "local_process":
        return LocalProcessLauncher()
    if settings.launcher == "in_process":
        return InProcessLauncher()
    raise BadInput(
        f"STRATA_LAUNCHER={settings.launcher}: write local_process, kubernetes or in_process"
    )


def _work(
    run: Run, pipeline: Pipeline, engine: Engine, watcher: Watcher, started: float
) -> Outcome:
    try:
        with ExitStack() as stack:
            stack.callback(run.launcher.close)
            stack.enter_context(pulse(run))
            stack.enter_context(watcher(run))
            stack.enter_context(stop_on_signal(run))
            engine(run, pipeline)
    except BaseException as error:
        # Where a full disk keeps the record from being written, the first error is to be told.
        with suppress(OSError):
            _close(run, "stopped" if isinstance(error, Interrupted) else "failed", str(error))
        raise
    _close(run, "done", None)
    cached = [name for name in run.plan.steps if name not in run.executed]
    return Outcome(
        run.register.run,
        tuple(run.executed),
        tuple(cached),
        time.time() - started,
        run.register.run.links,
    )


def _close(run: Run, state: Any, cause: str | None) -> None:
    for name, step in run.register.run.steps.items():
        if step.state in {"pending", "running"} and state != "done":
            run.register.step(name, state="skipped" if step.state == "pending" else "stopped")
    run.register.finish(state, cause)


@contextmanager
def stop_on_signal(run: Run) -> Generator[None]:
    """Let Ctrl-C and SIGTERM end the run once its steps have saved; a second one at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def asked(number: int, _frame: FrameType | None) -> None:
        if run.stop.is_set():
            os._exit(128 + number)
        run.stopped_by = number
        run.stop.set()
        run.board.say("stopping", "saving resume points; press Ctrl-C again to end at once")

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def directly(run: Run, pipeline: Pipeline) -> None:
    """Walk the pipeline step after step in this process, without Prefect."""
    from flows.produce import produce

    def step(name: str, stage: Stage, config: StageConfig, **inputs: Any) -> Any:
        if name not in run.wanted:
            return None
        return produce(run, name, stage, config, inputs)

    pipeline(step)


def _commit() -> str:
    """Return the commit of the source tree this package lies in; empty outside a repository."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
