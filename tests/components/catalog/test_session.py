"""Opening, migrating and refusing catalogs; eight processes that open a new one at once."""

from __future__ import annotations

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
from components.contract import BadInput, EnvironmentMissing, TryAgain
from tests.servers.s3_server import free_port


def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'catalog.db'}"


def test_a_new_catalog_has_the_schema_of_the_tables(database):
    catalog = open_catalog(database)
    with catalog.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        if database.startswith("sqlite"):
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    assert schema_revision(catalog) == HEAD
    catalog.close()


def test_head_is_the_newest_migration():
    folder = Path(sys.modules["components.catalog.session"].__file__ or "").parent
    assert ScriptDirectory(str(folder / "migrations")).get_current_head() == HEAD


def test_down_and_up_again_leaves_a_usable_catalog(database):
    catalog = open_catalog(database)
    upgrade(catalog, target="base")
    with catalog.read() as connection:
        assert set(sa.inspect(connection).get_table_names()) == {"alembic_version"}
    upgrade(catalog)
    record.record_run(catalog, "r")
    assert [run.id for run in runs(catalog)] == ["r"]


def test_a_failed_migration_leaves_nothing_behind(database):
    catalog = Catalog(make_engine(database))
    with catalog.write() as connection:
        connection.exec_driver_sql("CREATE TABLE events (id INTEGER)")  # in the migration's way
    with pytest.raises(BadInput, match="already exists"):
        open_catalog(database)
    with catalog.read() as connection:
        assert sa.inspect(connection).get_table_names() == ["events"]


def test_processes_that_open_a_new_catalog_at_once_all_succeed(database):
    code = (
        "import sys; from components.catalog import record\n"
        "from components.catalog.session import open_catalog\n"
        "catalog = open_catalog(sys.argv[1])\n"
        "for n in range(20): record.event(catalog, 'seen', run_id=None, by=sys.argv[2])\n"
    )
    command = [sys.executable, "-c", code, database]
    started = [subprocess.Popen([*command, str(n)], cwd=Path.cwd()) for n in range(8)]
    assert [process.wait(120) for process in started] == [0] * 8
    with open_catalog(database).read() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM events")).scalar() == 160


def test_a_server_says_why_it_is_not_used(postgres_server):
    right = postgres_server.url()
    refused = right.replace(postgres_server.password, "wrong")
    with pytest.raises(EnvironmentMissing, match="authentication failed") as error:
        open_catalog(refused)
    assert "wrong" not in str(error.value)
    with pytest.raises(EnvironmentMissing, match="does not exist"):
        open_catalog(postgres_server.url_of("nowhere"))
    gone = right.replace(f":{postgres_server.port}/", f":{free_port()}/")
    with pytest.raises(TryAgain, match="does not answer"):
        open_catalog(gone)


def test_a_server_that_was_restarted_is_used_again(postgres_server):
    catalog = open_catalog(postgres_server.url())
    record.record_run(catalog, "before")
    postgres_server.kill()
    postgres_server.start()
    record.record_run(catalog, "after")
    assert {run.id for run in runs(catalog)} == {"before", "after"}


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
