"""An artifact as a page, found by the beginning of its key."""

from __future__ import annotations

import re
import urllib.request
from html import unescape
from pathlib import Path

import pytest

from components.artifacts.store import open_store
from components.contract import NotFound
from components.settings import settings
from tests.dashboards.conftest import Open, html
from tests.dashboards.sample_home import SampleHome, run_id
from tests.servers.moto_server import moto_server

pytestmark = pytest.mark.usefixtures("home")


def test_artifact(open_page: Open, sample: SampleHome) -> None:
    made = sample.made["a/agent"]
    page = open_page("artifact", key=made.key[:14])
    assert made.digest in html(page)
    assert "model.safetensors" in html(page)
    assert run_id("a") in html(page)
    assert "scores.agent" in html(open_page("artifact"))


def test_a_file_in_a_bucket_is_a_link_that_needs_no_credentials(
    open_page: Open, sample: SampleHome, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = sample.made["a/agent"]
    root = Path(sample.settings.store_uri)
    with moto_server(tmp_path) as bucket:
        for name, value in bucket.environment.items():
            monkeypatch.setenv(name, value)
        objects = open_store(settings()).objects
        for path in (root / "artifacts" / made.stage / made.key).rglob("*"):
            if path.is_file():
                objects.write(path.relative_to(root).as_posix(), path.read_bytes())
        links = re.findall('href="(http[^"]+)"', html(open_page("artifact", key=made.key)))
        (link,) = [unescape(each) for each in links if "model.safetensors" in each]
        assert bucket.secret_key not in link
        with urllib.request.urlopen(link) as answer:
            assert answer.read() == sample.store.read_file(made, "model.safetensors")


def test_an_unknown_artifact_is_reported_by_the_app(open_page: Open) -> None:
    from streamlit.testing.v1 import AppTest

    page = AppTest.from_string("from dashboards.views import artifact\nartifact.render()")
    page.query_params["key"] = "ffff"
    page.run()
    assert NotFound.__name__ in str(page.exception[0].proto.type)


def test_an_empty_home_is_no_error(open_page: Open, empty_home: Path) -> None:
    assert "s-empty" in html(open_page("artifact"))
