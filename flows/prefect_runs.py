"""What the reconciler tells Prefect: how a flow run whose process died came out, and that a
deployment's run is to go on.

Our states win: Prefect is told, and never asked what is true, but for whether somebody cancelled
the run in its pages. Where it is away nothing is told; its own automation ends the flow run.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterIdempotencyKey,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort, TaskRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Completed, Crashed, Failed

from components.contract import StageFailure
from components.settings import Settings
from flows.prefect_client import prefect_client
from flows.runs import RunRecord
from flows.servers import prefect_url

RESUBMITS = 3
"""Times a deployment's run is asked for again; one whose orchestrator dies each time is left."""
AGAIN = "resubmitted-"
"""Tag of a flow run that goes on where another one died, with a number for each time."""
MOST_TASKS = 200
_CANCELLED = {StateType.CANCELLED, StateType.CANCELLING}
_FINAL = {StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED}


def close_flow_run(settings: Settings, record: RunRecord, *, cancelled: bool) -> bool:
    """Give a run's flow run, and the task runs that it left open, the state the run has come to.

    Returns whether Prefect knows it now.
    """
    with suppress(httpx.HTTPError, ObjectNotFound, StageFailure):
        url = prefect_url(settings)
        if url is None:
            return False
        with prefect_client(url) as client:
            flow_run = client.read_flow_run(UUID(record.links["prefect_flow_run"]))
            if not _is_final(flow_run.state):
                _close_tasks(client, flow_run, record)
                state = _state_of(record, cancelled=cancelled)
                client.set_flow_run_state(flow_run.id, state, force=True)
            return True
    return False


def was_cancelled(settings: Settings, record: RunRecord) -> bool:
    """Return whether somebody cancelled a run's flow run; False where Prefect cannot be asked."""
    with suppress(httpx.HTTPError, ObjectNotFound, StageFailure):
        url = prefect_url(settings)
        if url is not None:
            with prefect_client(url) as client:
                state = client.read_flow_run(UUID(record.links["prefect_flow_run"])).state
                return state is not None and state.type in _CANCELLED
    return False


def resubmit(settings: Settings, record: RunRecord) -> str:
    """Ask for a deployment's run again, once for each flow run that died; return the new one's id.

    Empty where it was not a deployment's, was cancelled in Prefect's pages, or died too often.
    """
    with suppress(httpx.HTTPError, ObjectNotFound, StageFailure):
        url = prefect_url(settings)
        if url is None:
            return ""
        with prefect_client(url) as client:
            dead = client.read_flow_run(UUID(record.links["prefect_flow_run"]))
            wanted = dead.state is None or dead.state.type not in _CANCELLED
            times = sum(tag.startswith(AGAIN) for tag in dead.tags)
            if dead.deployment_id is None or not wanted or times >= RESUBMITS:
                return ""
            made = client.create_flow_run_from_deployment(
                dead.deployment_id,
                parameters={**dead.parameters, "new": False},
                idempotency_key=_again_after(dead.id),
                tags=[*dead.tags, f"{AGAIN}{times + 1}"],
            )
            return str(made.id)
    return ""


def resubmitted(client: SyncPrefectClient, dead: UUID) -> UUID | None:
    """Return the id of the flow run that goes on where another one died; None where none does."""
    chosen = FlowRunFilterIdempotencyKey(any_=[_again_after(dead)])
    found = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(idempotency_key=chosen), sort=FlowRunSort.ID_DESC, limit=1
    )
    return found[0].id if found else None


def _again_after(dead: UUID) -> str:
    return f"again-{dead}"


def _close_tasks(client: SyncPrefectClient, flow_run: FlowRun, record: RunRecord) -> None:
    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id]))
    found = client.read_task_runs(
        flow_run_filter=chosen, sort=TaskRunSort.NAME_ASC, limit=MOST_TASKS
    )
    for task_run in found:
        step = record.steps.get(task_run.name)
        if _is_final(task_run.state):
            continue
        done = step is not None and step.state in {"done", "cached"}
        cause = (step.cause if step else None) or record.cause or "its orchestrator is gone"
        state: State[Any] = Completed() if done else Crashed(message=cause)
        client.set_task_run_state(task_run.id, state, force=True)


def _state_of(record: RunRecord, *, cancelled: bool) -> State[Any]:
    if record.state == "done":
        return Completed(message="every step was made")
    if cancelled:
        return Cancelled(message=record.cause)
    return (Failed if record.state == "failed" else Crashed)(message=record.cause)


def _is_final(state: State[Any] | None) -> bool:
    return state is not None and state.type in _FINAL
