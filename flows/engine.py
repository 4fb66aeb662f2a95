"""Let Prefect carry a run: find or start its API, then walk the pipeline as a flow.

Imports Prefect inside the function: planning and a run without work never pay for it.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from components.settings import Settings
from flows.context import Run
from flows.run import Pipeline

CLIENT_RETRIES = 3
"""Pauses of 2, 4 and 8 s; Prefect's own 5 hold a run for 150 s when its server has died."""
_LOGGERS = (
    "prefect",
    "prefect.flow_runs",
    "prefect.task_runs",
    "prefect._internal.concurrency",
    "EventsWorker",
)


def with_prefect(run: Run, pipeline: Pipeline) -> None:
    """Make the run's steps as a Prefect flow; raises the first failure of a step."""
    with _api(run) as url:
        from prefect.settings import (
            PREFECT_API_URL,
            PREFECT_CLIENT_MAX_RETRIES,
            PREFECT_HOME,
            PREFECT_LOGGING_TO_API_ENABLED,
            temporary_settings,
        )

        here: Any = {
            PREFECT_API_URL: url,
            PREFECT_CLIENT_MAX_RETRIES: CLIENT_RETRIES,
            PREFECT_HOME: str(run.settings.home / "prefect"),
            PREFECT_LOGGING_TO_API_ENABLED: False,
        }
        with temporary_settings(here):
            from flows.train import as_flow

            # Our own display tells what happens; Prefect's log would run through the live table.
            for name in _LOGGERS:
                logging.getLogger(name).setLevel(logging.CRITICAL)
            as_flow(run, pipeline)


@contextmanager
def to_mlflow(run: Run) -> Generator[None]:
    """Send the run to MLflow while the body lasts; a gap is told, and never fails the run."""
    from flows.shipping import shipping

    def told(gap: str) -> None:
        run.board.say("mlflow", gap)

    with shipping(
        run.settings,
        lambda: run.register.run,
        on_links=lambda links: run.register.links(**links),
        on_gap=told,
    ):
        yield


def pages(settings: Settings, run_id: str) -> dict[str, str]:
    """Return where a run can be looked at while the servers of `strata up` run."""
    from flows.servers import running

    urls = running(settings)
    if urls is None:
        return {}
    return {"dashboard": f"{urls.dashboard}/run?run={run_id}", "prefect": urls.prefect}


@contextmanager
def _api(run: Run) -> Generator[str]:
    """Yield the URL of the API that is set or up, else that of a server for this run alone."""
    from flows.servers import prefect_url, private_prefect_server

    url = prefect_url(run.settings)
    if url:
        yield url
        return
    run.board.say("prefect", "starting a private server (`strata up` keeps one running)")
    with private_prefect_server(run.settings) as private:
        yield private
