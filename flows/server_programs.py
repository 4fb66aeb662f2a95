"""Which servers an installation has, and how each one is started and asked whether it is well."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from components.settings import Settings
from flows.server_processes import Server

HOSTS = ("127.0.0.1", "localhost")
"""Names under which the servers of this machine answer: a page of another site whose name was
pointed at the loopback address must not reach them.
"""


@dataclass(frozen=True)
class ServerUrls:
    """Hold where the servers that are up can be reached."""

    prefect: str
    """Pages of Prefect; its API is under `/api`."""
    mlflow: str
    dashboard: str


def mlflow_database(settings: Settings) -> str:
    """Return the URI of the database that MLflow's server and a run without servers share."""
    return f"sqlite:///{settings.home / 'mlflow' / 'mlflow.db'}"


def mlflow_artifacts(settings: Settings) -> Path:
    """Return the directory of MLflow's artifacts in the embedded installation."""
    return settings.home / "mlflow" / "artifacts"


def server_urls(settings: Settings) -> ServerUrls:
    """Return where the servers of these settings listen once they are up."""
    ports = (settings.prefect_port, settings.mlflow_port, settings.dashboard_port)
    return ServerUrls(*(f"http://127.0.0.1:{port}" for port in ports))


def prefect_environment(settings: Settings, port: int) -> dict[str, str]:
    """Return the environment of a Prefect server on a port, whose data lie under the home."""
    home = settings.home / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    return {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(home),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "pages"),
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }


def server_programs(settings: Settings, since: float = 0.0) -> tuple[Server, ...]:
    """Describe the servers; a worker counts as well once it was heard of after `since` (UNIX
    seconds).
    """
    urls = server_urls(settings)
    common = {"STRATA_HOME": str(settings.home)}
    prefect = prefect_environment(settings, settings.prefect_port)
    page = find_spec("dashboards")
    assert page is not None
    assert page.origin is not None
    return (
        Server(
            name="prefect",
            arguments=("-m", "flows.prefect_api", str(settings.prefect_port)),
            environment=prefect,
            healthy=lambda: answers(f"{urls.prefect}/api/health"),
            port=settings.prefect_port,
            setting="STRATA_PREFECT_PORT",
        ),
        _mlflow(settings),
        Server(
            name="dashboard",
            arguments=(
                *("-m", "streamlit", "run", str(Path(page.origin).with_name("app.py"))),
                *("--server.address", "127.0.0.1", "--server.headless", "true"),
                *(part for name in HOSTS for part in ("--server.allowedHosts", name)),
                *("--server.port", str(settings.dashboard_port)),
                *("--server.fileWatcherType", "none", "--browser.gatherUsageStats", "false"),
            ),
            environment=common,
            healthy=lambda: answers(f"{urls.dashboard}/_stcore/health"),
            port=settings.dashboard_port,
            setting="STRATA_DASHBOARD_PORT",
        ),
        Server(
            name="worker",
            arguments=("-m", "flows.deployments"),
            environment=common
            | prefect
            | {
                "PREFECT_API_URL": f"{urls.prefect}/api",
                # The default of 10 s makes the form feel dead.
                "PREFECT_WORKER_QUERY_SECONDS": "2",
            },
            healthy=lambda: _worker_polls(
                f"{urls.prefect}/api/work_pools/{settings.work_pool}", since
            ),
            after="prefect",
        ),
    )


def _mlflow(settings: Settings) -> Server:
    url = server_urls(settings).mlflow
    mlflow_artifacts(settings).mkdir(parents=True, exist_ok=True)
    return Server(
        name="mlflow",
        arguments=(
            *("-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"),
            *("--port", str(settings.mlflow_port), "--no-serve-artifacts"),
            *("--backend-store-uri", mlflow_database(settings)),
            *("--default-artifact-root", str(mlflow_artifacts(settings))),
        ),
        environment={
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(f"{name},{name}:*" for name in HOSTS),
            # Its job runner is eight more processes and 600 MB, for features we do not use.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
        healthy=lambda: answers(f"{url}/health"),
        port=settings.mlflow_port,
        setting="STRATA_MLFLOW_PORT",
    )


def answers(url: str, seconds: float = 2.0) -> bool:
    """Ask a URL; True for status 200 within `seconds`."""
    return status(url, seconds) == 200


def status(url: str, seconds: float = 2.0) -> int | None:
    """Ask a URL and return the status of its answer; None where none comes within `seconds`."""
    try:
        with urllib.request.urlopen(url, timeout=seconds) as response:
            return int(response.status)
    except urllib.error.HTTPError as refused:
        return refused.code
    except (OSError, ValueError):
        return None


def _worker_polls(pool: str, since: float) -> bool:
    request = urllib.request.Request(
        f"{pool}/workers/filter",
        data=b"{}",
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=2.0) as response:
            workers: list[dict[str, Any]] = json.load(response)
    except (OSError, urllib.error.URLError, ValueError):
        return False
    return any(
        worker["status"] == "ONLINE"
        and datetime.fromisoformat(worker["last_heartbeat_time"]).timestamp() > since
        for worker in workers
    )
