"""The Prefect flows: a prepared run, and the deployment that takes its recipe from a form.

Started by `strata run` the job is prepared and only its steps are submitted here. Started from a
deployment the flow prepares the job itself from its typed parameters.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from prefect import flow
from prefect.events.worker import EventsWorker
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel, ConfigDict, PositiveInt

from components.artifacts.store import open_store
from components.contract import Device, Precision, Stage, StageConfig, TryAgain
from components.execution.exit_codes import machine_fault
from components.settings import settings
from flows.context import Run
from flows.display import watch
from flows.engine import pages, to_mlflow
from flows.prefect_view import follow, name_page
from flows.produce import produce
from flows.run import Pipeline, carry_out, make_plan, stop_on_signal
from flows.run_step import run_step

FLOW_NAME = "train-agentic-llm"
RecipeName = Literal["ci", "toy", "small", "two_billion"]
LauncherName = Literal["local_process", "kubernetes"]
MOST_WAITING = 64
"""Threads for steps that wait for their inputs; slots decide how many compute."""
EVENT_SECONDS = 5.0
_RUNNER: Any = ThreadPoolTaskRunner(max_workers=MOST_WAITING)


class Place(BaseModel):
    """Say where steps are made; what is left empty stays as the recipe has it.

    It is the recipe's `resources.default`: a step that the recipe places itself keeps its place.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    device: Device | None = None
    """Where the model's tensors lie."""
    precision: Precision | None = None
    """Format of matrix products."""
    nodes: PositiveInt | None = None
    """Machines that train together."""
    processes: PositiveInt | None = None
    """Ranks on each machine."""
    memory_gb: PositiveInt | None = None
    """Memory of a step, in GiB."""

    def overrides(self) -> list[str]:
        """Return what is filled in as changes to the recipe."""
        filled = self.model_dump(exclude_none=True)
        return [f"resources.default.{field}={value}" for field, value in filled.items()]


@flow(
    name=FLOW_NAME,
    flow_run_name="{recipe}",
    task_runner=_RUNNER,
    persist_result=False,
    retries=0,
)
def train(
    recipe: RecipeName = "toy",
    overrides: tuple[str, ...] = (),
    place: Place = Place(),  # noqa: B008  (frozen; Prefect reads the form's defaults from it)
    launcher: LauncherName | None = None,
    until: str = "",
    new: bool = False,
) -> str:
    """Take raw text to a released tool-using model.

    Args:
        recipe: Recipe to run.
        overrides: Changes to the recipe, each as `step.field=value`; they come last.
        place: Where the steps are made; what is empty stays as the recipe has it.
        launcher: How steps are started; empty means as the worker is set up.
        until: Last step to make; empty means all.
        new: Start another run although one could be continued.
    """
    from flows.jobs import job_of
    from flows.recipe import resolve

    here = settings()
    if launcher is not None:
        here = here.model_copy(update={"launcher": launcher})
    changes = [*place.overrides(), *overrides]
    chosen = resolve(recipe, assignments=changes, settings=here)
    job = job_of(chosen, until=until, new=new)
    plan = make_plan(job, open_store(here))
    outcome = carry_out(job, here, plan, engine=_named, watcher=watch, shipper=to_mlflow)
    name_page(flow_run.get_id(), outcome.record.id)  # a run with nothing to make has no steps
    return outcome.record.id


def _named(run: Run, pipeline: Pipeline) -> None:
    name_page(flow_run.get_id(), run.id)
    submit_steps(run, pipeline)


def as_flow(run: Run, pipeline: Pipeline) -> None:
    """Make a prepared run's steps in a flow run of its own."""

    @flow(
        name=FLOW_NAME,
        flow_run_name=run.id,
        task_runner=_RUNNER,
        persist_result=False,
        retries=0,
    )
    def prepared(recipe: str, run_id: str) -> None:
        del recipe, run_id  # shown in Prefect; the job itself is prepared
        submit_steps(run, pipeline)

    try:
        prepared(recipe=run.register.run.recipe, run_id=run.id)
    except Exception as error:
        if run.failures:
            raise run.failures[0] from None
        if machine_fault(error) is not None:
            raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        if any(run.register.run.steps[name].digest is None for name in run.wanted):
            raise TryAgain(
                f"Prefect went away ({reason}): what was made is kept, the same command goes on"
            ) from error
        run.board.say("prefect", f"went away at the end ({reason}); every step was made")
    finally:
        send_events()


def send_events() -> None:
    """Wait a little for Prefect's event queue, then drop it.

    States of tasks travel as events. Against a server that has gone Prefect retries each for seven
    seconds when the interpreter ends, which takes minutes.
    """
    workers: list[Any] = list(getattr(EventsWorker, "_instances", {}).values())
    sent: Any = EventsWorker.drain_all(timeout=EVENT_SECONDS)
    if sent[1]:
        for worker in workers:
            queue = getattr(worker, "_queue")  # noqa: B009  (not public; there is no other way)
            with queue.mutex:
                queue.queue.clear()
            queue.put_nowait(None)


def submit_steps(run: Run, pipeline: Pipeline) -> None:
    """Submit every wanted step and wait for all; raises the first failure of a step.

    Raises TryAgain where Prefect itself failed: what was made stays, the same command goes on.
    """
    flow_run_id = str(flow_run.get_id() or "")
    shown = pages(run.settings, run.id)
    if "prefect" in shown:
        shown["prefect"] += f"/runs/flow-run/{flow_run_id}"
    run.register.links(prefect_flow_run=flow_run_id, **shown)
    futures: list[PrefectFuture[Any]] = []

    def step(name: str, stage: Stage, config: StageConfig, **inputs: Any) -> Any:
        if name not in run.wanted:
            return None
        make = partial(produce, run, name, stage, config)
        future = run_step.with_options(name=name).submit(name, inputs, make)
        futures.append(future)
        return future

    with stop_on_signal(run):  # Prefect has put its own handlers in place by now
        pipeline(step)
        follow(run, futures, flow_run_id)
    if run.failures:
        raise run.failures[0]
    lost = [future for future in futures if not future.state.is_completed()]
    if lost:
        raise TryAgain(
            f"Prefect lost track of a step ({lost[0].state.message}): what was made is kept, the "
            "same command goes on"
        )
