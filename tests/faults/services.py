"""R7: MLflow, Prefect, the database and the store go away for a while during a run, alone and
together.

Real servers, each behind a proxy that plays the fault; a run of four torch-free steps under the
real launcher. The run must end with every step made by its first attempt. What MLflow then shows
must equal the journals, point by point, within a minute of the last fault's end, and what stands in
the catalog must be what `strata catalog rebuild` makes of the store.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from components.artifacts.store import ArtifactStore, open_store
from components.settings import Settings
from components.settings import settings as read_settings
from components.tracking.journal import metric_points
from flows.runs import RunRecord, find_run
from flows.server_processes import Server, free_port, python_environment
from flows.server_programs import server_programs
from tests.catalog_contents import contents, rebuilt
from tests.faults.figure import Figure
from tests.faults.long_run import STEPS_A_SECOND
from tests.faults.proxy import FAULTS, Fault, Proxy
from tests.processes import wait_until
from tests.servers.moto_server import moto_server
from tests.servers.postgres import postgres

ROOT = Path(__file__).parents[2]
AWAY_SECONDS, WELL_SECONDS = 30.0, 5.0
LATEST_SECONDS = 60.0


@dataclass(frozen=True)
class Services:
    """Hold the proxies in front of the servers, and the environment of a run that uses them."""

    proxies: dict[str, Proxy]
    environment: dict[str, str]


def measure(n: int, seed: int, place: Path, away: float = AWAY_SECONDS) -> Figure:
    """Let a service go away `n` times during one run: each in turn, then all together."""
    draws = random.Random(seed)
    with services(place) as serving, _reading(serving):
        outages = [draw(serving, number, draws) for number in range(n)]
        seconds = 12 + n * (away + WELL_SECONDS)
        home = place / "home"
        with (place / "run.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.faults.long_run",
                    str(int(seconds * STEPS_A_SECOND / 4)),
                ],
                cwd=ROOT,
                env=serving.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        here = read_settings(serving.environment)
        wait_until(lambda: any(home.rglob("*.jsonl")), 120, "for the first step")
        for outage in outages:
            time.sleep(WELL_SECONDS)
            play(serving, outage, away)
        returned = time.monotonic()
        code = process.wait(600)
        told = (place / "run.log").read_text()
        gaps = Gaps.after(here, returned)
    print(told)
    print(outages)
    return Figure(
        row="R7",
        goal="MLflow, Prefect, database, store away: no step lost, 100 % of metrics, no "
        "duplicates, within 60 s",
        n=n,
        figure=f"exit code {code}, {gaps.again} steps tried again or lost; {gaps.missing} of "
        f"{gaps.points} points missing, {gaps.double} double, whole {gaps.seconds:.0f} s after the "
        f"last fault; the catalog differs in {', '.join(gaps.catalog) or 'nothing'}",
        holds=code == 0 and not (gaps.again or gaps.missing or gaps.double or gaps.catalog),
    )


def _reading(serving: Services) -> AbstractContextManager[Any]:
    """Let this process look at what the run writes, with the credentials of its bucket."""
    return patch.dict(os.environ, serving.environment)


def draw(serving: Services, number: int, draws: random.Random) -> dict[str, Fault]:
    """Choose who goes away and how: each service in turn, then all of them."""
    names = list(serving.proxies)
    turn = number % (len(names) + 1)
    away = names if turn == len(names) else [names[turn]]
    return {name: draws.choice(FAULTS) for name in away}


def play(serving: Services, outage: dict[str, Fault], seconds: float) -> None:
    """Let services go away, and come back."""
    for name, fault in outage.items():
        serving.proxies[name].fault = fault
    time.sleep(seconds)
    for name in outage:
        serving.proxies[name].fault = ""


@dataclass
class Gaps:
    """Say what differs between the store and MLflow after a run."""

    again: int
    """Steps that were not made by their first attempt."""
    points: int
    missing: int = 0
    double: int = 0
    seconds: float = 0.0
    catalog: tuple[str, ...] = ()
    """What differs between the catalog and one that is made from the store."""

    @classmethod
    def after(cls, settings: Settings, returned: float) -> Gaps:
        """Compare, for a minute at most after the services had returned or the run was over."""
        store = open_store(settings)
        record = find_run(store)
        expected = journalled(store, record)
        again = sum(step.attempt != 1 for step in record.steps.values()) + (record.state != "done")
        gaps = cls(again, sum(expected.values()))
        written, made = contents(settings.catalog), rebuilt(settings.catalog, store)
        gaps.catalog = tuple(kind for kind in made if written[kind] != made[kind])
        deadline = time.monotonic() + LATEST_SECONDS
        while True:
            shown = in_mlflow(settings, record)
            gaps.missing = sum((expected - shown).values())
            gaps.double = sum(count - 1 for count in shown.values())
            gaps.seconds = time.monotonic() - returned
            if not gaps.missing or time.monotonic() > deadline:
                return gaps
            time.sleep(1)


Points = Counter[tuple[str, str, int]]
"""Step of the pipeline, name of the metric, optimizer step."""


def journalled(store: ArtifactStore, record: RunRecord) -> Points:
    """Return the points that the journals hold, merged over attempts."""
    points: Points = Counter()
    for name, step in record.steps.items():
        journals = [a.fetch_journal() for a in store.attempts(step.stage, step.key or "")]
        points.update((name, point.name, point.step) for point in metric_points(journals))
    return points


def in_mlflow(settings: Settings, record: RunRecord) -> Points:
    """Return the points that MLflow shows, over all of its runs of this run."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=settings.mlflow)
    experiment = client.get_experiment_by_name("strata")
    points: Points = Counter()
    if experiment is None:
        return points
    wanted = f"tags.`strata.run_id` = '{record.id}'"
    for run in client.search_runs([experiment.experiment_id], wanted, max_results=100):
        name = run.data.tags.get("strata.step", "")
        for metric in run.data.metrics:
            history = client.get_metric_history(run.info.run_id, metric)
            points.update((name, metric, point.step) for point in history)
    return points


@contextmanager
def services(place: Path) -> Generator[Services]:
    """Start every server with a proxy before it."""
    place.mkdir(parents=True, exist_ok=True)
    home = place / "home"
    ports = {name: free_port() for name in ("prefect", "mlflow")}
    inside = Settings(home=home, prefect_port=ports["prefect"], mlflow_port=ports["mlflow"])
    with ExitStack() as stack:
        bucket = stack.enter_context(moto_server(place))
        database = stack.enter_context(postgres(place))
        at = {"store": int(bucket.endpoint.rpartition(":")[2]), "database": database.port}
        upstream = {**ports, **at}
        proxies = {name: Proxy(port, http=name != "database") for name, port in upstream.items()}
        for proxy in proxies.values():
            stack.callback(proxy.close)
        programs = {server.name: server for server in server_programs(inside)}
        starting = [stack.enter_context(started(programs[name], home)) for name in ports]
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: wait_until(server.healthy, 120, server.name), starting))
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("STRATA_", "PREFECT_"))},
            **bucket.environment,
            "PYTHONPATH": str(ROOT),
            "STRATA_HOME": str(home),
            "STRATA_S3_ENDPOINT": proxies["store"].url,
            "STRATA_CATALOG": database.url("catalog").replace(
                f":{database.port}/", f":{proxies['database'].port}/"
            ),
            "STRATA_PREFECT": f"{proxies['prefect'].url}/api",
            "STRATA_MLFLOW": proxies["mlflow"].url,
        }
        yield Services(proxies, environment)


@contextmanager
def started(server: Server, home: Path) -> Generator[Server]:
    """Run a server of `strata up` while the body lasts."""
    home.mkdir(parents=True, exist_ok=True)
    environment: Any = python_environment(**server.environment)
    with (home.parent / f"{server.name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *server.arguments],
            env=environment,
            cwd=home,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # MLflow's server is a child of the one that is started
        )
    try:
        yield server
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
