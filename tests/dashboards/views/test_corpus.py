"""The data page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dashboards.conftest import Open, html

pytestmark = pytest.mark.usefixtures("home")


def test_data(open_page: Open) -> None:
    page = html(open_page("corpus", domain="code"))
    assert "near duplicate 2,877" in page
    assert "debian:wordnet-base" in page
    assert "{" not in page.replace("<style", ""), "raw JSON is not for readers"
    assert ">168<" in page


def test_an_empty_home_is_no_error(open_page: Open, empty_home: Path) -> None:
    assert "s-empty" in html(open_page("corpus"))
