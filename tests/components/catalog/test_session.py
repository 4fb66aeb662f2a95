"""Opening, migrating and refusing catalogs on both databases; processes that open one at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import components.catalog
from components.catalog import record
from components.catalog.queries import events, runs
from components.catalog.session import Catalog, make_engine, open_catalog, schema_revision, upgrade
from components.catalog.tables import HEAD, metadata, pipeline_runs
from components.contract import BadInput, EnvironmentMissing, TryAgain
from tests.servers.postgres import PASSWORD, postgres

MIGRATIONS = Path(components.catalog.__file__).parent / "migrations"


def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'catalog.db'}"


def test_a_new_catalog_has_the_schema_of_the_tables(catalog_url):
    catalog = open_catalog(catalog_url)
    with catalog.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        if catalog.engine.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    assert schema_revision(catalog) == HEAD
    catalog.close()


def test_head_is_the_newest_migration():
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == HEAD


def fill(catalog: Catalog) -> None:
    record.record_run(catalog, "r", recipe="ci", resolved_config={"b": 1, "a": {"é": [1.5, None]}})
    record.record_step(catalog, "r", "corpus", state="done", key="k")
    record.record_attempt(catalog, "k", 1, stage="corpus", run_id="r", started=1.0)
    record.event(catalog, "beat", run_id="r", n=1)


def rows(catalog: Catalog) -> dict[str, list[tuple[object, ...]]]:
    with catalog.read() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(sa.select(table))]
            for table in metadata.sorted_tables
        }


def test_down_and_up_again_keeps_every_row(catalog_url):
    catalog = open_catalog(catalog_url)
    fill(catalog)
    before = rows(catalog)
    folder = ScriptDirectory(str(MIGRATIONS))
    for script in folder.walk_revisions():
        if script.down_revision is None:
            break
        upgrade(catalog, HEAD, target=str(script.down_revision))
        assert schema_revision(catalog) == script.down_revision
    assert rows(catalog) == before
    catalog.close()
    assert schema_revision(open_catalog(catalog_url)) == HEAD
    assert rows(catalog) == before
    catalog.close()


def test_down_to_nothing_and_up_again_leaves_a_usable_catalog(catalog_url):
    catalog = open_catalog(catalog_url)
    upgrade(catalog, HEAD, target="base")
    with catalog.read() as connection:
        assert set(sa.inspect(connection).get_table_names()) == {"alembic_version"}
    upgrade(catalog)
    fill(catalog)
    assert [run.id for run in runs(catalog)] == ["r"]
    catalog.close()


def test_a_catalog_of_each_earlier_revision_is_brought_up_to_date(catalog_url):
    catalog = Catalog(make_engine(catalog_url))
    upgrade(catalog, target="0001")
    fill(catalog)
    before = rows(catalog)
    catalog.close()
    catalog = open_catalog(catalog_url)
    assert schema_revision(catalog) == HEAD
    assert rows(catalog) == before
    with catalog.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    catalog.close()


def test_a_failed_migration_leaves_nothing_behind(catalog_url):
    catalog = Catalog(make_engine(catalog_url))
    with catalog.write() as connection:
        connection.exec_driver_sql("CREATE TABLE events (id INTEGER)")  # in the migration's way
    with pytest.raises(BadInput, match="already exists"):
        open_catalog(catalog_url)
    with catalog.read() as connection:
        assert sa.inspect(connection).get_table_names() == ["events"]
    catalog.close()


def test_processes_that_open_a_new_catalog_at_once_all_succeed(catalog_url):
    code = (
        "import sys; from components.catalog import record\n"
        "from components.catalog.session import open_catalog\n"
        "catalog = open_catalog(sys.argv[1])\n"
        "for n in range(20): record.event(catalog, 'seen', run_id=None, by=sys.argv[2])\n"
    )
    command = [sys.executable, "-c", code, catalog_url]
    started = [subprocess.Popen([*command, str(n)], cwd=Path.cwd()) for n in range(4)]
    assert [process.wait(120) for process in started] == [0] * 4
    catalog = open_catalog(catalog_url)
    assert len(events(catalog)) == 80
    catalog.close()


@pytest.mark.parametrize(
    "bad",
    [
        "not a url",
        "oracle9://x/y",
        "mysql://user:hidden@x/y",
        "postgresql+asyncpg://user:hidden@x/y",
        "postgresql://user:hidden@x:port/y",
        "sqlite:////proc/nowhere/catalog.db",
    ],
)
def test_a_url_without_a_database_is_refused_with_the_cause(bad):
    with pytest.raises(BadInput, match=r"STRATA_CATALOG|catalog") as refused:
        open_catalog(bad)
    assert "hidden" not in str(refused.value)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "catalog.db").write_text("hello, I am a text file and not a database" * 20)
    with pytest.raises(BadInput, match="strata catalog rebuild"):
        open_catalog(url(tmp_path))


def test_a_schema_from_the_future_is_refused(catalog_url):
    catalog = open_catalog(catalog_url)
    with catalog.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(BadInput, match="upgrade Strata"):
        open_catalog(catalog_url)
    catalog.close()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"password": "guessed"}, "password authentication failed"),
        ({"username": "nobody", "password": "guessed"}, 'for user "nobody"'),
        ({"database": "missing"}, 'database "missing" does not exist'),
    ],
)
def test_a_server_that_refuses_is_named_without_the_password(postgres_server, wrong, says):
    asked = sa.make_url(postgres_server.url("there")).set(**wrong)
    with pytest.raises(EnvironmentMissing, match=says) as refused:
        open_catalog(asked.render_as_string(hide_password=False))
    told = str(refused.value)
    assert f"127.0.0.1:{postgres_server.port}/{asked.database}" in told
    assert "STRATA_CATALOG" in told
    assert str(asked.password) not in told


def test_a_user_without_rights_is_told_which_are_missing(postgres_server):
    there = sa.make_url(postgres_server.url("closed"))
    admin = sa.create_engine(there)
    with admin.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE guest LOGIN PASSWORD 'guest-secret'")
    admin.dispose()
    guest = there.set(username="guest", password="guest-secret")
    with pytest.raises(EnvironmentMissing, match="permission denied for schema public") as refused:
        open_catalog(guest.render_as_string(hide_password=False))
    assert "guest-secret" not in str(refused.value)


def test_a_database_without_an_encoding_will_do(postgres_server):
    there = sa.make_url(postgres_server.url("bare"))
    admin = sa.create_engine(there, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE plain ENCODING SQL_ASCII TEMPLATE template0")
    admin.dispose()
    catalog = open_catalog(there.set(database="plain").render_as_string(hide_password=False))
    record.record_run(catalog, "é")
    assert [run.id for run in runs(catalog)] == ["é"]


def test_a_server_that_is_away_is_to_be_tried_again(tmp_path):
    with postgres(tmp_path) as server:
        catalog = open_catalog(server.url("kept"))
        record.record_run(catalog, "r")
        server.stop()
        for attempt in (lambda: runs(catalog), lambda: open_catalog(server.url("kept"))):
            with pytest.raises(TryAgain, match=f"127.0.0.1:{server.port}/kept") as away:
                attempt()
            assert PASSWORD not in str(away.value)
        server.start()
        assert [run.id for run in runs(catalog)] == ["r"]
        for end in (server.stop, server.kill):  # connections that wait in the pool are dead now
            end()
            server.start()
            record.record_run(catalog, end.__name__)
        assert {run.id for run in runs(catalog)} == {"r", "stop", "kill"}
        catalog.close()


def test_a_reader_sees_one_state_while_another_writes(catalog_url):
    reader, writer = open_catalog(catalog_url), open_catalog(catalog_url)
    count = sa.select(sa.func.count()).select_from(pipeline_runs)
    with reader.read() as connection:
        before = connection.scalar(count)
        record.record_run(writer, "r")
        assert connection.scalar(count) == before == 0
    assert len(runs(reader)) == 1
    reader.close()
    writer.close()


def test_a_missing_driver_is_named():
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from components.catalog.session import open_catalog\n"
        "from components.contract import EnvironmentMissing\n"
        "try: open_catalog('postgresql+psycopg://user:hidden@db.example/strata')\n"
        "except EnvironmentMissing as error: print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for named in ("strata on db.example", "psycopg", "pip install 'strata[cluster]'"):
        assert named in told.stdout
    assert "hidden" not in told.stdout
