"""What every test shares: a private home, quiet libraries, and the rule that CI skips nothing."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.servers.postgres import Postgres

MAY_SKIP = ("gpu", "cluster")
"""Markers of tests that need hardware or a control plane which CI does not have."""

QUIET = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "RAY_USAGE_STATS_ENABLED": "0",
}
os.environ.update(QUIET)  # here, since some libraries read it when they are imported


@pytest.fixture(scope="session", autouse=True)
def private_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Point everything that keeps state at a directory of this session.

    A developer's own `STRATA_` variables would change what the tests mean, so they are dropped.
    """
    home = tmp_path_factory.mktemp("strata-home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("STRATA_")]:
            patch.delenv(name)
        patch.setenv("STRATA_HOME", str(home))
        patch.setenv("PREFECT_HOME", str(home / "prefect"))
        yield home


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """Run one PostgreSQL server for all tests that do not stop it; each has its own database."""
    from tests.servers.postgres import postgres

    with postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Turn a skip into a failure in CI, apart from `MAY_SKIP`."""
    report = yield
    may_skip = any(item.get_closest_marker(name) for name in MAY_SKIP)
    if os.environ.get("CI") and report.skipped and not may_skip:
        report.outcome = "failed"
        report.longrepr = f"skipped, which counts as a failure in CI: {_reason(report.longrepr)}"
        if hasattr(report, "wasxfail"):
            del report.wasxfail
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Turn a module that is skipped whole into a failure in CI."""
    report = yield
    if os.environ.get("CI") and report.skipped:
        report.outcome = "failed"
        report.longrepr = (
            f"{collector.nodeid}: skipped as a whole, which counts as a failure in CI: "
            f"{_reason(report.longrepr)}"
        )
    return report


def _reason(longrepr: Any) -> str:
    return str(longrepr[2] if isinstance(longrepr, tuple) else longrepr or "expected to fail")
