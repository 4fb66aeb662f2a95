"""Hand a run to the workers of a Prefect server and follow it: the caller may leave at any time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from components.artifacts.store import open_store
from components.contract import EnvironmentMissing, StageFailure
from components.execution.exit_codes import ExitCode
from components.settings import Settings
from flows.deployments import STANDING
from flows.runs import RunRecord, newest_first
from flows.servers import prefect_url
from flows.train import FLOW_NAME

POLL_SECONDS = 2.0


class RunEnded(StageFailure):
    """Report that a submitted run ended without its result."""

    exit_code = ExitCode.FAILED


def submit(settings: Settings, recipe: str, overrides: Iterable[str], **options: Any) -> UUID:
    """Ask for a run of the standing deployment and return the id of its flow run.

    Raises EnvironmentMissing without a Prefect server, or without a worker's deployment on it.
    """
    url = prefect_url(settings)
    if url is None:
        raise EnvironmentMissing(
            "a run on the cluster is carried out by a Prefect worker, and no server is set or up.\n"
            "Start one with `strata up`, set STRATA_PREFECT, or orchestrate from here with --here."
        )
    parameters = {
        "recipe": recipe,
        "overrides": list(overrides),
        "launcher": settings.launcher,
        **options,
    }
    return asyncio.run(_create(url, parameters))


async def _create(url: str, parameters: dict[str, Any]) -> UUID:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: url}):
        async with get_client() as client:
            try:
                found = await client.read_deployment_by_name(f"{FLOW_NAME}/{STANDING}")
            except ObjectNotFound:
                raise EnvironmentMissing(
                    f"the Prefect server {url} knows no deployment {STANDING!r}: no worker of "
                    "Strata has been there.\nStart one with `strata up`, or use --here."
                ) from None
            made = await client.create_flow_run_from_deployment(found.id, parameters=parameters)
            return made.id


def follow(settings: Settings, flow_run: UUID, say: Callable[[str], None]) -> RunRecord | None:
    """Tell how the run goes until it ends, and return its record; None where none was written.

    Raises RunEnded where it failed, was cancelled or crashed.
    """
    store = open_store(settings)
    told: dict[str, str] = {}
    asked = time.time()
    while True:
        state, message = asyncio.run(_state(prefect_url(settings) or "", flow_run))
        record = next(newest_first(store), None)
        if record is not None and (record.ended or time.time()) < asked:
            record = None
        for line in _news(record, told):
            say(line)
        if state in {"COMPLETED"}:
            return record
        if state in {"FAILED", "CRASHED", "CANCELLED"}:
            cause = (record.cause if record else None) or message or state.lower()
            raise RunEnded(f"the run ended ({state.lower()}): {cause}")
        time.sleep(POLL_SECONDS)


async def _state(url: str, flow_run: UUID) -> tuple[str, str]:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: url}):
        async with get_client() as client:
            state = (await client.read_flow_run(flow_run)).state
    return (state.type.value, state.message or "") if state else ("PENDING", "")


def _news(record: RunRecord | None, told: dict[str, str]) -> list[str]:
    """Return a line for each step whose state has changed since the last call."""
    if record is None:
        return []
    news: list[str] = []
    for name, step in record.steps.items():
        if step.state not in {"pending", told.get(name)}:
            news.append(f"{name}: {step.state}" + (f" ({step.cause})" if step.cause else ""))
        told[name] = step.state
    return news
