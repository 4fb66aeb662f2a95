"""One run as a page: finished, live, failed, and by default the newest."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from components.catalog import record
from dashboards.views import run as run_view
from tests.dashboards.conftest import Open, html, use
from tests.dashboards.sample_home import build, run_id

pytestmark = pytest.mark.usefixtures("home")


@pytest.mark.parametrize("view", run_view.VIEWS)
def test_a_finished_run_in_every_view(open_page: Open, view: str) -> None:
    page = open_page("run", run=run_id("a"), view=view)
    assert "Final success, greedy" in html(page)
    assert "85.3 %" in html(page)


def test_a_live_run_says_what_it_does(open_page: Open) -> None:
    page = html(open_page("run", run=run_id("e")))
    assert "Now: agentic_base" in page
    assert "s-live" in page


def test_a_failed_run_says_why(open_page: Open) -> None:
    page = html(open_page("run", run=run_id("d", "ci")))
    assert "the reward is not finite at step 31" in page


def test_an_interrupted_run_says_how_it_goes_on(
    open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build(use(tmp_path / "home", monkeypatch))
    record.record_run(made.catalog, run_id("e"), host=socket.gethostname(), pid=None)
    page = html(open_page("run", run=run_id("e")))
    assert "the command that started it continues it" in page
    assert "Final success" not in page
    assert "Now: agentic_base" not in page


def test_no_run_in_the_address_means_the_newest(open_page: Open) -> None:
    page = open_page("run")
    assert run_id("e") in html(page)
    assert page.query_params["run"] == run_id("e")


def test_links_lead_to_the_run_in_prefect_and_mlflow(open_page: Open) -> None:
    page = html(open_page("run", run=run_id("a")))
    assert "/runs/flow-run/00000000-0000-4000-8000-000000000000" in page
    assert "/#/experiments/1/runs/7" in page


def test_an_empty_home_is_no_error(open_page: Open, empty_home: Path) -> None:
    assert "s-empty" in html(open_page("run"))
