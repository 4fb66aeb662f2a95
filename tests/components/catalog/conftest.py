"""A new database for each test, on SQLite and on PostgreSQL."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.catalog.session import Catalog, open_catalog


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Name an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'catalog.db'}"
        return
    server = request.getfixturevalue("postgres_server")
    name = f"catalog_{secrets.token_hex(4)}"
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def empty_catalog(catalog_url: str) -> Iterator[Catalog]:
    """Open a catalog in which nothing is written yet."""
    catalog = open_catalog(catalog_url)
    yield catalog
    catalog.close()
