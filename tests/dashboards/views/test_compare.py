"""The comparison of runs as a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dashboards.conftest import Open, html
from tests.dashboards.sample_home import SampleHome, run_id

pytestmark = pytest.mark.usefixtures("home")


def test_compare(open_page: Open, sample: SampleHome) -> None:
    page = open_page("compare", runs=[run_id("a"), run_id("b")])
    assert "agent.learning_rate" in html(page)
    assert "+2.1" in html(page)
    assert page.get("download_button")
    assert "Choose two or more" in html(open_page("compare"))


def test_an_empty_home_is_no_error(open_page: Open, empty_home: Path) -> None:
    assert "s-empty" in html(open_page("compare"))
