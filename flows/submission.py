"""Hand a run to the workers of a Prefect server and follow it: the caller may leave at any time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from prefect.exceptions import ObjectNotFound

from components.artifacts.store import ArtifactStore, open_store
from components.contract import EnvironmentMissing, StageFailure, TryAgain
from components.execution.exit_codes import ExitCode
from components.settings import Settings
from flows.prefect_client import prefect_client
from flows.prefect_runs import resubmitted
from flows.prefect_view import changes
from flows.runs import RunRecord, load_run
from flows.servers import prefect_url
from flows.train import FLOW_NAME

POLL_SECONDS = 2.0
RESUBMIT_SECONDS = 60.0
"""Time within which the reconciler lets another flow run go on where one has died."""


class RunEnded(StageFailure):
    """Report that a submitted run ended without its result."""

    exit_code = ExitCode.FAILED


def submit(settings: Settings, recipe: str, overrides: Iterable[str], **options: Any) -> UUID:
    """Ask for a run of the work pool's standing deployment and return the id of its flow run.

    Raises EnvironmentMissing without a Prefect server, or without a worker's deployment on it.
    """
    parameters = {
        "recipe": recipe,
        "overrides": list(overrides),
        "launcher": settings.launcher,
        **options,
    }
    url = _server(settings)
    with prefect_client(url) as client:
        try:
            found = client.read_deployment_by_name(f"{FLOW_NAME}/{settings.work_pool}")
        except ObjectNotFound:
            raise EnvironmentMissing(
                f"the Prefect server {url} knows no deployment {settings.work_pool!r}: no worker "
                "of this pool has been there.\nStart one with `strata up`, correct "
                "STRATA_WORK_POOL, or use --here."
            ) from None
        return client.create_flow_run_from_deployment(found.id, parameters=parameters).id


def follow(settings: Settings, flow_run: UUID, say: Callable[[str], None]) -> RunRecord | None:
    """Tell how the run goes until it ends, and return its record; None where none was written.

    Where its orchestrator died and another one goes on, that one is followed; a server that is away
    is asked again. Raises RunEnded where the run failed, was cancelled, or crashed for good.
    """
    store, url = open_store(settings), _server(settings)
    states: dict[str, str] = {}
    while True:
        try:
            now = _look(store, url, flow_run)
        except (TryAgain, httpx.HTTPError) as error:
            if _is_refusal(error):
                raise
            say(f"{error or type(error).__name__}; asking again")
            time.sleep(POLL_SECONDS)
            continue
        if now.record is not None:
            for line in changes(now.record, states):
                say(line)
            states = {name: step.state for name, step in now.record.steps.items()}
        if now.successor is not None:
            say("its orchestrator died; another one goes on with what it left")
            flow_run = now.successor
        elif now.state == "COMPLETED":
            return now.record
        elif now.state in {"FAILED", "CANCELLED"} or now.crashed_for > RESUBMIT_SECONDS:
            cause = (now.record.cause if now.record else None) or now.message or "no cause is known"
            raise RunEnded(f"the run ended ({now.state.lower()}): {cause}")
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True)
class _Look:
    """Hold what Prefect and the store say of a submitted run."""

    state: str
    message: str
    crashed_for: float
    """Seconds since it crashed."""
    successor: UUID | None
    record: RunRecord | None


def _look(store: ArtifactStore, url: str, flow_run: UUID) -> _Look:
    with prefect_client(url) as client:
        seen = client.read_flow_run(flow_run)
        state = seen.state
        crashed = state is not None and state.type.value == "CRASHED"
        successor = resubmitted(client, flow_run) if crashed else None
    record = load_run(store, seen.name)
    if state is None:
        return _Look("PENDING", "", 0.0, None, record)
    since = time.time() - state.timestamp.timestamp() if crashed else 0.0
    return _Look(state.type.value, state.message or "", since, successor, record)


def _is_refusal(error: Exception) -> bool:
    """Return whether a server has understood a question and will not answer it: asking again would
    not help.
    """
    if not isinstance(error, httpx.HTTPStatusError):
        return False
    status = error.response.status_code
    return status < 500 and status not in {408, 429}


def _server(settings: Settings) -> str:
    url = prefect_url(settings)
    if url is None:
        raise EnvironmentMissing(
            "a run on the cluster is carried out by a Prefect worker, and no server is set or up.\n"
            "Start one with `strata up`, set STRATA_PREFECT, or orchestrate from here with --here."
        )
    return url
