"""The trajectory browser as a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dashboards.conftest import Open, html

pytestmark = pytest.mark.usefixtures("home")


def test_trajectories(open_page: Open) -> None:
    page = open_page("trajectories", id="midtrain-code-0-b1")
    assert "goes wrong: missing extension" in html(page)
    assert "<script>" not in html(page)
    narrowed = open_page("trajectories", family="math", split="sft")
    assert "3 conversations" in [caption.value for caption in narrowed.caption]


def test_an_empty_home_is_no_error(open_page: Open, empty_home: Path) -> None:
    assert "s-empty" in html(open_page("trajectories"))
