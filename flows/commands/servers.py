"""`strata up`, `down`, `deploy`, `catalog rebuild`, `mlflow rebuild`, `db upgrade`: the services
around a run.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from components.artifacts.store import open_store
from components.settings import settings
from flows.commands.output import emit, say


def up(*, json: bool = False) -> None:
    """Start the Prefect server and worker, MLflow and the dashboard; returns when all are healthy.

    Parameters
    ----------
    json
        Print JSON: server to URL.
    """
    from flows.servers import up as start

    urls = asdict(start(settings(), say))
    if json:
        emit(urls)
    else:
        for name, url in urls.items():
            print(f"{name:10} {url}")


def down() -> None:
    """Stop the servers that `strata up` started; databases, artifacts and logs stay."""
    from flows.servers import down as stop

    print("the servers are down" if stop(settings()) else "no servers were up")


def deploy(
    recipe: str = "toy",
    *,
    set: Annotated[list[str] | None, Parameter(name=["--set", "-s"])] = None,
    name: str = "",
    cron: str = "",
    timezone: str = "UTC",
    notify: str = "",
) -> None:
    """Make a Prefect deployment of the pipeline, to be run from its form or by a schedule.

    Parameters
    ----------
    recipe
        Name of a recipe: ci, toy, small or two_billion.
    set
        One change to the recipe, STEP.FIELD=VALUE; may be repeated.
    name
        Name of the deployment; the recipe's without one.
    cron
        Schedule in five fields, such as "0 3 * * *" for every night at three.
    timezone
        Time zone of the schedule.
    notify
        Notification block of Prefect, TYPE/NAME, that hears of failed steps and stuck runs.
    """
    from flows.automations import automate
    from flows.deployments import deploy as make

    if notify:
        automate(settings(), notify)
    page = make(settings(), recipe, overrides=set or (), name=name, cron=cron, timezone=timezone)
    print(page)


def rebuild_catalog(*, json: bool = False) -> None:
    """Make the catalog again from the store, failures included.

    Parameters
    ----------
    json
        Print JSON: how many runs, attempts and artifacts.
    """
    from components.catalog.rebuild import rebuild
    from components.catalog.session import open_catalog

    here = settings()
    catalog = open_catalog(here.catalog_url)
    counts = rebuild(catalog, open_store(here))
    catalog.close()
    if json:
        emit(counts)
    else:
        print(", ".join(f"{count} {name}" for name, count in counts.items()))


def upgrade_db(*, json: bool = False) -> None:
    """Bring the catalog's schema up to date; rows stay, and many may do so at once.

    Parameters
    ----------
    json
        Print JSON: the database and its revision before and after.
    """
    from components.catalog.session import condition, open_catalog

    url = settings().catalog_url
    before = condition(url).revision
    open_catalog(url).close()
    after = condition(url)
    if json:
        emit({"database": after.url, "before": before, "after": after.revision})
    else:
        print(f"{after.url}: revision {after.revision}, before {before or 'empty'}")


def rebuild_mlflow() -> None:
    """Send every run of the store to MLflow again; what is there already is not doubled."""
    from flows.shipping import rebuild_mlflow as rebuild

    print(f"{rebuild(settings(), say)} runs")
