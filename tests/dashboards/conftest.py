"""One sample home for all tests of the dashboard, and pages that read it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from components.catalog.session import open_catalog
from components.settings import Settings
from tests.dashboards.sample_home import SampleHome, build

Open = Callable[..., AppTest]


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleHome:
    """Write the sample home once."""
    return build(tmp_path_factory.mktemp("dashboard") / "home")


@pytest.fixture
def home(sample: SampleHome, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the dashboard at the sample home."""
    return use(sample.settings.home, monkeypatch)


def use(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STRATA_HOME", str(path))
    # Ports nobody listens on, so that a developer's own servers change no page.
    monkeypatch.setenv("STRATA_PREFECT_PORT", "1")
    monkeypatch.setenv("STRATA_MLFLOW_PORT", "1")
    st.cache_data.clear()
    return path


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the dashboard at a home in which nothing ran yet."""
    open_catalog(Settings(home=tmp_path / "empty").catalog_url).close()
    return use(tmp_path / "empty", monkeypatch)


@pytest.fixture
def open_page() -> Open:
    """Run one view as a page with parameters in its address; it must raise nothing."""

    def opened(view: str, /, **parameters: str | list[str]) -> AppTest:
        script = f"from dashboards.views import {view}\n{view}.render()\n"
        page = AppTest.from_string(script, default_timeout=20)
        for name, value in parameters.items():
            page.query_params[name] = value
        page.run()
        assert not page.exception, page.exception
        return page

    return opened


def html(page: AppTest) -> str:
    """Join all HTML of a page."""
    return "\n".join(element.proto.body for element in page.get("html"))
