"""An artifact as a page, found by the beginning of its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.contract import NotFound
from tests.dashboards.conftest import Open, html
from tests.dashboards.sample_home import SampleHome, run_id

pytestmark = pytest.mark.usefixtures("home")


def test_artifact(open_page: Open, sample: SampleHome) -> None:
    made = sample.made["a/agent"]
    page = open_page("artifact", key=made.key[:14])
    assert made.digest in html(page)
    assert "model.safetensors" in html(page)
    assert run_id("a") in html(page)
    assert "scores.agent" in html(open_page("artifact"))


def test_an_unknown_artifact_is_reported_by_the_app(open_page: Open) -> None:
    from streamlit.testing.v1 import AppTest

    page = AppTest.from_string("from dashboards.views import artifact\nartifact.render()")
    page.query_params["key"] = "ffff"
    page.run()
    assert NotFound.__name__ in str(page.exception[0].proto.type)


def test_an_empty_home_is_no_error(open_page: Open, empty_home: Path) -> None:
    assert "s-empty" in html(open_page("artifact"))
