"""The list beside a conversation, on the page that shows it."""

from __future__ import annotations

import pytest

from tests.dashboards.conftest import Open, html

pytestmark = pytest.mark.usefixtures("home")


def test_the_address_chooses_the_page_of_the_list_and_the_conversation(open_page: Open) -> None:
    page = open_page("trajectories", id="midtrain-code-10-b1")
    assert "midtrain-code-10-b1" in html(page)
    assert page.radio[0].value.id == "midtrain-code-10-b1"


def test_a_choice_is_written_into_the_address(open_page: Open) -> None:
    page = open_page("trajectories", family="math")
    chosen = page.radio[0].options[1]
    page.radio[0].set_value(chosen).run()
    assert not page.exception
    assert page.query_params["id"] == "midtrain-math-1"
