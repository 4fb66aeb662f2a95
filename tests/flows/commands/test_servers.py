"""`strata db upgrade` and `strata catalog rebuild` on a real PostgreSQL server."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from components.catalog.session import Catalog, make_engine, upgrade
from components.catalog.tables import HEAD
from flows.cli import main
from tests.servers.s3_server import free_port


@pytest.fixture
def catalog_url(postgres_server, tmp_path, monkeypatch):
    url = postgres_server.url()
    monkeypatch.setenv("STRATA_HOME", str(tmp_path))
    monkeypatch.setenv("STRATA_CATALOG", url)
    return url


def test_an_older_catalog_is_brought_up_to_date(catalog_url, capsys):
    catalog = Catalog(make_engine(catalog_url))
    upgrade(catalog, target="0001")
    catalog.close()
    for before in ("0001", HEAD):
        assert main(["db", "upgrade", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["before"], told["after"]) == (before, HEAD)
    assert main(["db", "upgrade"]) == 0
    assert f"revision {HEAD}" in capsys.readouterr().out
    assert main(["catalog", "rebuild"]) == 0


@pytest.mark.parametrize(
    ("wrong", "code"),
    [({"password": "guessed"}, 3), ({"database": "missing"}, 3), ({"port": free_port()}, 75)],
)
def test_a_catalog_that_does_not_serve_ends_with_its_code(
    catalog_url, monkeypatch, capsys, wrong, code
):
    url = sa.make_url(catalog_url).set(**wrong)
    monkeypatch.setenv("STRATA_CATALOG", url.render_as_string(hide_password=False))
    for command in (["catalog", "rebuild"], ["db", "upgrade"]):
        assert main(command) == code
        told = capsys.readouterr().err
        assert f"{url.host}:{url.port}/{url.database}" in told
        assert "Fix:" in told
        assert str(url.password) not in told
