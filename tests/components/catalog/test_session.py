"""Opening, migrating and refusing catalogs; eight processes that open a new one at once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from components.catalog import record
from components.catalog.queries import runs
from components.catalog.session import Catalog, make_engine, open_catalog, schema_revision, upgrade
from components.catalog.tables import HEAD, metadata
from components.contract import BadInput


def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'catalog.db'}"


def test_a_new_catalog_has_the_schema_of_the_tables(tmp_path):
    catalog = open_catalog(url(tmp_path))
    with catalog.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    assert schema_revision(catalog) == HEAD
    catalog.close()


def test_head_is_the_newest_migration():
    folder = Path(sys.modules["components.catalog.session"].__file__ or "").parent
    assert ScriptDirectory(str(folder / "migrations")).get_current_head() == HEAD


def test_down_and_up_again_leaves_a_usable_catalog(tmp_path):
    catalog = open_catalog(url(tmp_path))
    upgrade(catalog, target="base")
    with catalog.read() as connection:
        assert set(sa.inspect(connection).get_table_names()) == {"alembic_version"}
    upgrade(catalog)
    record.record_run(catalog, "r")
    assert [run.id for run in runs(catalog)] == ["r"]


def test_a_failed_migration_leaves_nothing_behind(tmp_path):
    catalog = Catalog(make_engine(url(tmp_path)))
    with catalog.write() as connection:
        connection.exec_driver_sql("CREATE TABLE events (id INTEGER)")  # in the migration's way
    with pytest.raises(BadInput, match="already exists"):
        open_catalog(url(tmp_path))
    with catalog.read() as connection:
        assert sa.inspect(connection).get_table_names() == ["events"]


def test_processes_that_open_a_new_catalog_at_once_all_succeed(tmp_path):
    code = (
        "import sys; from components.catalog import record\n"
        "from components.catalog.session import open_catalog\n"
        "catalog = open_catalog(sys.argv[1])\n"
        "for n in range(20): record.event(catalog, 'seen', run_id=None, by=sys.argv[2])\n"
    )
    command = [sys.executable, "-c", code, url(tmp_path)]
    started = [subprocess.Popen([*command, str(n)], cwd=Path.cwd()) for n in range(8)]
    assert [process.wait(120) for process in started] == [0] * 8
    rows = sqlite3.connect(tmp_path / "catalog.db").execute("SELECT count(*) FROM events")
    assert rows.fetchone() == (160,)


@pytest.mark.parametrize(
    "bad", ["not a url", "oracle9://x/y", "sqlite:////proc/nowhere/catalog.db"]
)
def test_a_url_without_a_database_is_refused_with_the_cause(bad):
    with pytest.raises(BadInput, match=r"STRATA_CATALOG|catalog"):
        open_catalog(bad)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "catalog.db").write_text("hello, I am a text file and not a database" * 20)
    with pytest.raises(BadInput, match="strata catalog rebuild"):
        open_catalog(url(tmp_path))


def test_a_schema_from_the_future_is_refused(tmp_path):
    catalog = open_catalog(url(tmp_path))
    with catalog.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(BadInput, match="upgrade Strata"):
        open_catalog(url(tmp_path))
