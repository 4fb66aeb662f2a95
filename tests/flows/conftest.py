"""What several tests of flows share: a Prefect database that exists."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from components.settings import Settings
from flows.servers import private_prefect_server


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory) -> Callable[[Path], Path]:
    """Return a function that fills a home with a migrated Prefect database and returns it.

    Making the database takes 8 s, most of a server's first start.
    """
    settings = Settings(home=tmp_path_factory.mktemp("prefect-database") / "home")
    with private_prefect_server(settings) as url:
        assert url.startswith("http://127.0.0.1:")

    def fill(home: Path) -> Path:
        shutil.copytree(settings.home / "prefect", home / "prefect")
        return home

    return fill
