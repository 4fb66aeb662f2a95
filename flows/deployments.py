"""Deployments as code: the pipeline in Prefect, started from its form, by a schedule, or by hand.

A deployment names the flow by its module, so that what runs is the installed code and nothing is
copied. `python -m flows.deployments` is the worker of `strata up`: it makes the work pool and the
standing deployment, then carries out what Prefect hands it, one flow run at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from components.contract import BadInput, EnvironmentMissing, TryAgain
from components.settings import Settings
from components.settings import settings as read_settings
from flows.automations import ensure
from flows.prefect_client import talking_to
from flows.servers import mlflow_uri, prefect_url

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

CATCH_UP_SECONDS = 45.0
"""Time between two looks of the worker for runs that MLflow missed."""
RECONCILE_SECONDS = 15.0
"""Time between two looks of the worker for runs whose orchestrator died."""


def deploy(
    settings: Settings,
    recipe: str,
    *,
    overrides: Iterable[str] = (),
    name: str = "",
    cron: str = "",
    timezone: str = "UTC",
) -> str:
    """Make or replace a deployment of the pipeline and return its page in Prefect.

    With `cron` it runs by that schedule. Raises BadInput for a recipe, an override or a schedule
    that does not hold, and EnvironmentMissing without a Prefect server.
    """
    url = prefect_url(settings)
    if url is None:
        raise EnvironmentMissing(
            "a deployment needs a Prefect server: start one with `strata up`, or set STRATA_PREFECT"
        )
    from flows.recipe import resolve

    changes = list(overrides)
    resolve(recipe, assignments=changes, settings=settings)
    with talking_to(url):
        parameters = {"recipe": recipe, "overrides": changes}
        made = asyncio.run(
            _make(settings, name or recipe, parameters=parameters, cron=cron, timezone=timezone)
        )
    return f"{url.rstrip('/').removesuffix('/api')}/deployments/deployment/{made}"


def work(healthcheck: bool = False) -> None:
    """Make the work pool and its standing deployment, which has its name, takes every recipe and
    has no schedule; then carry out flow runs until ended.

    With `healthcheck` it answers `/health` on the port of PREFECT_WORKER_WEBSERVER_PORT, for a
    container's probes.
    """
    from prefect.workers.process import ProcessWorker

    here = read_settings()
    wait_for_prefect(here)
    asyncio.run(_make(here, here.work_pool, parameters={"recipe": "toy"}))
    for beside in (_catch_up, _reconcile):
        threading.Thread(target=beside, name=beside.__name__, daemon=True).start()
    worker = ProcessWorker(
        work_pool_name=here.work_pool, name="local", limit=1, create_pool_if_not_found=False
    )
    asyncio.run(worker.start(with_healthcheck=healthcheck))


def wait_for_prefect(settings: Settings, pause: float = 2.0) -> None:
    """Return once the API that is set answers, however long that takes: in a cluster all servers
    start at once.
    """
    told = False
    while True:
        try:
            prefect_url(settings)
        except TryAgain:
            if not told:
                print(f"waiting for Prefect at {settings.prefect}", file=sys.stderr, flush=True)
            told = True
            time.sleep(pause)
        else:
            return


def _catch_up() -> None:
    """Send what MLflow missed while it was away, whenever it is there."""
    from flows.shipping import catch_up

    here = read_settings()
    while True:
        time.sleep(CATCH_UP_SECONDS)
        if mlflow_uri(here).startswith("http"):
            catch_up(here)


def _reconcile() -> None:
    """Look for runs whose orchestrator died. A deployment of its own would take the worker's only
    place from a run, start a process for each look, and do nothing once Prefect is away.
    """
    from flows.reconcile import Reconciler, news

    for finding in news(Reconciler(read_settings()).rounds(RECONCILE_SECONDS)):
        print(finding, file=sys.stderr, flush=True)


async def _deployment(
    pool: str, name: str, *, parameters: dict[str, Any], cron: str = "", timezone: str = "UTC"
) -> RunnerDeployment:
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.types.entrypoint import EntrypointType

    from flows.train import train

    try:
        schedules = [CronSchedule(cron=cron, timezone=timezone)] if cron else []
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise BadInput(
            f"the schedule does not hold: {problem}. Write five fields, such as `0 3 * * *` for "
            "every night at three, and a time zone such as Europe/Berlin."
        ) from None
    return await train.ato_deployment(
        name,
        schedules=schedules,
        parameters=parameters,
        tags=["strata"],
        description="Take raw text to a tool-using model: choose a recipe, change what you like.",
        work_pool_name=pool,
        entrypoint_type=EntrypointType.MODULE_PATH,
        enforce_parameter_schema=True,
    )


async def _make(settings: Settings, name: str, **options: Any) -> str:
    """Make a deployment, and its work pool and the automations if need be; return its id."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    deployment = await _deployment(settings.work_pool, name, **options)
    async with get_client() as client:
        pool = WorkPoolCreate(
            name=settings.work_pool,
            type=ProcessWorker.type,
            base_job_template=ProcessWorker.get_default_base_job_template(),
        )
        with contextlib.suppress(ObjectAlreadyExists):
            await client.create_work_pool(pool)
        await ensure(client)
    return str(await deployment.aapply())


if __name__ == "__main__":
    work(healthcheck="--healthcheck" in sys.argv[1:])
