"""Where Prefect and MLflow show a run, and whether they answer."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from components.settings import Settings

_SECONDS = 0.7


@dataclass(frozen=True)
class Service:
    """Hold one server that the pages link to: base URL of its pages and URL of its health check."""

    name: str
    url: str
    health: str


def services(settings: Settings) -> tuple[Service, ...]:
    """Return the servers of this installation that speak HTTP: Prefect, then MLflow."""
    prefect = settings.prefect or f"http://127.0.0.1:{settings.prefect_port}/api"
    mlflow = settings.mlflow or f"http://127.0.0.1:{settings.mlflow_port}"
    found: list[Service] = []
    if prefect.startswith("http"):
        base = prefect.rstrip("/").removesuffix("/api")
        found.append(Service("Prefect", base, f"{base}/api/health"))
    if mlflow.startswith("http"):
        base = mlflow.rstrip("/")
        found.append(Service("MLflow", base, f"{base}/health"))
    return tuple(found)


def answers(service: Service) -> bool:
    """Ask a server whether it is well, or asks for a login; False after 0.7 s."""
    try:
        with urllib.request.urlopen(service.health, timeout=_SECONDS) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as refused:
        return refused.code == 401
    except (OSError, ValueError):
        return False


def compare_url(service: Service, run_ids: Sequence[str], experiment: str) -> str:
    """Return the page on which MLflow lays its runs beside each other."""
    query = urlencode(
        {
            "runs": json.dumps(list(run_ids)),
            "experiments": json.dumps([experiment]),
            "workflowType": "machine_learning",
        }
    )
    return f"{service.url}/#/compare-runs?{query}"


def experiment_of(page: str) -> str | None:
    """Return the experiment in the address of a run's page in MLflow."""
    found = re.search(r"/experiments/([^/]+)/runs/", page)
    return found.group(1) if found else None


def flow_run_url(service: Service, flow_run_id: str) -> str:
    """Return the page of a flow run in Prefect."""
    return f"{service.url}/runs/flow-run/{flow_run_id}"
