"""What a run says reaches the catalog in order, at once or when its database is back."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from components.catalog import record, tables
from flows.catalog_writer import CatalogWriter
from tests.faults.proxy import Fault, Proxy
from tests.processes import wait_until
from tests.servers.postgres import PostgresServer, postgres


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with tempfile.TemporaryDirectory(prefix="strata-postgres-") as place:
        Path(place).chmod(0o755)  # a server that root starts runs as nobody
        with postgres(Path(place) / "server") as running:
            yield running


def note(number: int):
    """Return a write that appends an event."""
    return lambda catalog: record.event(catalog, f"event {number}", run_id=None)


def noted(url: str) -> list[str]:
    """Return what was written so far; nothing before there is a schema."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        there = sa.inspect(connection).has_table("events")
        found = sa.select(tables.events.c.name).order_by(tables.events.c.id)
        names = list(connection.scalars(found)) if there else []
    engine.dispose()
    return names


def test_everything_is_written_in_order_before_close_returns(tmp_path, capsys) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    writer = CatalogWriter(url)
    for number in range(20):
        writer.put(note(number))
    writer.close()
    assert noted(url) == [f"event {number}" for number in range(20)]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("fault", ["reset", "stall", "black hole"])
def test_a_database_that_was_away_gets_what_it_missed(server, capsys, fault: Fault) -> None:
    url = server.url()
    proxy = Proxy(server.port, http=False)
    writer = CatalogWriter(url.replace(f":{server.port}/", f":{proxy.port}/"))
    writer.put(note(0))
    wait_until(lambda: noted(url) == ["event 0"])
    proxy.fault = fault
    for number in range(1, 5):
        writer.put(note(number))
    time.sleep(1)  # it must try while nothing answers
    assert noted(url) == ["event 0"]
    proxy.fault = ""
    wait_until(lambda: len(noted(url)) >= 5, 30)
    writer.close()
    proxy.close()
    assert noted(url) == [f"event {number}" for number in range(5)]
    assert capsys.readouterr().err.count("cannot be written") <= 1


def test_a_database_that_is_no_database_is_told_once_and_holds_nobody(tmp_path, capsys) -> None:
    (tmp_path / "catalog.db").write_bytes(b"no database" * 500)
    writer = CatalogWriter(f"sqlite:///{tmp_path / 'catalog.db'}")
    for number in range(3):
        writer.put(note(number))
    writer.close()
    assert capsys.readouterr().err.count("strata catalog rebuild") >= 1
