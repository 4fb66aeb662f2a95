from __future__ import annotations

import pytest
import sqlalchemy as sa

from components.catalog.session import Catalog, make_engine, open_catalog, upgrade
from components.catalog.tables import HEAD
from components.settings import Settings, settings
from flows.checks import catalog, sandbox, store
from tests.servers.moto_server import moto_server
from tests.servers.s3_server import free_port


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with moto_server(tmp_path_factory.mktemp("moto")) as running:
        yield running


def test_a_bucket_is_probed_and_each_fault_has_its_repair(server, tmp_path, monkeypatch):
    for name, value in server.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    here = Settings(home=tmp_path, store=server.uri, s3_endpoint=server.endpoint)
    assert store(here) == ("ok", f"{server.uri}, 0 runs", "")
    state, found, repair = store(here.model_copy(update={"store": "s3://missing/store"}))
    assert (state, "missing" in found, repair) == (
        "fault",
        True,
        "create it, or correct STRATA_STORE.",
    )
    assert store(here.model_copy(update={"store": "gs://bucket"}))[0] == "fault"


def test_a_directory_is_not_written_to(tmp_path):
    here = Settings(home=tmp_path / "home")
    assert store(here) == ("ok", f"{here.store_uri}, 0 runs", "")
    assert not here.home.exists()


def test_a_server_that_is_away_is_a_fault_with_its_address(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    endpoint = f"http://127.0.0.1:{free_port()}"
    here = Settings(home=tmp_path, store="s3://strata/store", s3_endpoint=endpoint)
    state, found, repair = store(here)
    assert state == "fault"
    assert endpoint in found
    assert "STRATA_S3_ENDPOINT" in repair


def test_the_catalog_is_named_with_its_version_and_revision(postgres_server, tmp_path):
    here = Settings(home=tmp_path, catalog=postgres_server.url())
    state, found, repair = catalog(here)
    assert (state, repair) == ("ok", "")
    assert "PostgreSQL 1" in found
    assert "empty" in found
    opened = Catalog(make_engine(here.catalog))
    upgrade(opened, target="0001")
    state, found, repair = catalog(here)
    assert (state, repair) == ("note", "strata db upgrade, or the next run does it")
    assert "revision 0001" in found
    open_catalog(here.catalog).close()
    assert catalog(here)[0] == "ok"
    assert catalog(here)[1].endswith(f"revision {HEAD}")
    with opened.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    opened.close()
    state, found, repair = catalog(here)
    assert (state, "9999" in found, repair) == (
        "fault",
        True,
        "upgrade Strata, or point STRATA_CATALOG elsewhere",
    )


def test_a_catalog_that_cannot_be_used_has_its_repair(postgres_server, tmp_path):
    right = sa.make_url(postgres_server.url())
    wrong = {
        "correct the user or the password": right.set(password="guessed"),
        "create it with createdb": right.set(database="missing"),
        "start the database": right.set(port=free_port()),
        "move it aside": sa.make_url(f"sqlite:///{tmp_path / 'text.db'}"),
    }
    (tmp_path / "text.db").write_text("a text file and not a database" * 50)
    for repair, url in wrong.items():
        text = url.render_as_string(hide_password=False)
        state, found, said = catalog(Settings(home=tmp_path, catalog=text))
        assert (state, repair in said) == ("fault", True), said
        assert str(url.password) not in found + said


def test_a_catalog_is_looked_at_without_being_made(tmp_path):
    assert catalog(Settings(home=tmp_path / "home")) == ("ok", "made by the first run", "")
    assert not (tmp_path / "home").exists()


def test_the_sandbox_that_the_recipes_choose_must_hold(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no bwrap there
    state, found, repair = sandbox(Settings(home=tmp_path))
    assert (state, "`bwrap` is not installed" in found) == ("fault", True)
    assert "set sandbox_tier=landlock" in repair
    names = ("trajectories", "text_scores", "agent", "agent_scores")
    chosen = ";".join(f"{name}.sandbox_tier=landlock" for name in names)
    assert sandbox(settings({"STRATA_SET": chosen})) == ("ok", "landlock isolates", "")
