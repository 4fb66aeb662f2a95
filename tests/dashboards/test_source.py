"""The pages read a catalog on PostgreSQL as they read one on SQLite, and outlive its absence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import dashboards
from components.catalog.session import Catalog
from dashboards import queries
from tests.dashboards.conftest import Open, html, use
from tests.dashboards.sample_home import build, run_id
from tests.servers.postgres import Postgres, postgres

NOW = 1.79e9


def pages(catalog: Catalog, key: str) -> list[object]:
    """Read what the pages of runs, of each run and of an artifact show."""
    listed = queries.run_page(catalog)
    lineage = queries.artifact_lineage(catalog, key)
    return [
        listed,
        list(listed.states),
        queries.run_page(catalog, recipe="ci", state="failed"),
        [queries.run_detail(catalog, run.id) for run in listed.runs],
        lineage,
        queries.runs_using(catalog, key),
    ]


def test_both_databases_show_the_same(postgres_server: Postgres, tmp_path: Path) -> None:
    shown = {}
    for kind, url in {"sqlite": "", "postgresql": postgres_server.url()}.items():
        sample = build(tmp_path / "home", now=NOW, catalog=url)
        assert sample.catalog.engine.dialect.name == kind
        shown[kind] = pages(sample.catalog, sample.made["a/shards"].key)
        sample.catalog.close()
        shutil.rmtree(tmp_path / "home")
    assert shown["postgresql"] == shown["sqlite"]


def test_pages_outlive_a_database_that_goes_away(
    open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres(tmp_path) as server:
        url = server.url()
        sample = build(tmp_path / "home", catalog=url)
        sample.catalog.close()
        use(tmp_path / "home", monkeypatch)
        monkeypatch.setenv("STRATA_CATALOG", url)
        assert run_id("a") in html(open_page("runs"))
        assert "release" in html(open_page("run", run=run_id("a")))
        assert sample.made["a/agent"].digest in html(
            open_page("artifact", key=sample.made["a/agent"].key)
        )
        server.stop()
        use(tmp_path / "home", monkeypatch)
        whole = str(Path(dashboards.__file__).with_name("app.py"))
        banner = html(AppTest.from_file(whole, default_timeout=30).run())
        assert f"127.0.0.1:{server.port}" in banner
        assert "does not answer" in banner
        server.start()
        use(tmp_path / "home", monkeypatch)
        assert run_id("a") in html(open_page("runs"))
