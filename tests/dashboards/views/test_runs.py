"""The list of runs as a page."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.dashboards.conftest import Open, html, use
from tests.dashboards.sample_home import build, many, run_id

pytestmark = pytest.mark.usefixtures("home")


def test_runs(open_page: Open) -> None:
    page = html(open_page("runs"))
    assert "<b>3</b> done" in page
    assert run_id("a") in page
    assert "85.3 %" in page


def test_runs_filtered_by_address(open_page: Open) -> None:
    page = html(open_page("runs", recipe="ci", state="failed"))
    assert run_id("d", "ci") in page
    assert run_id("c", "ci") not in page


def test_runs_with_a_thousand_open_in_two_seconds(
    open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(build(use(tmp_path / "home", monkeypatch)), 1000)
    open_page("runs")  # imports and the catalog's connection
    start = time.perf_counter()
    page = open_page("runs", page="2")
    assert time.perf_counter() - start < 2
    assert html(page).count('class="s-strip"') == 25


def test_an_empty_home_is_no_error(open_page: Open, empty_home: Path) -> None:
    assert "s-empty" in html(open_page("runs"))
