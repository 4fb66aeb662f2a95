from __future__ import annotations

import pytest

from components.settings import Settings
from flows.checks import store
from tests.servers.moto_server import moto_server
from tests.servers.s3_server import free_port


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with moto_server(tmp_path_factory.mktemp("moto")) as running:
        yield running


def test_a_bucket_is_probed_and_each_fault_has_its_repair(server, tmp_path, monkeypatch):
    for name, value in server.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    here = Settings(home=tmp_path, store=server.uri, s3_endpoint=server.endpoint)
    assert store(here) == ("ok", f"{server.uri}, 0 runs", "")
    state, found, repair = store(here.model_copy(update={"store": "s3://missing/store"}))
    assert (state, "missing" in found, repair) == (
        "fault",
        True,
        "create it, or correct STRATA_STORE.",
    )
    assert store(here.model_copy(update={"store": "gs://bucket"}))[0] == "fault"


def test_a_directory_is_not_written_to(tmp_path):
    here = Settings(home=tmp_path / "home")
    assert store(here) == ("ok", f"{here.store_uri}, 0 runs", "")
    assert not here.home.exists()


def test_a_server_that_is_away_is_a_fault_with_its_address(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    endpoint = f"http://127.0.0.1:{free_port()}"
    here = Settings(home=tmp_path, store="s3://strata/store", s3_endpoint=endpoint)
    state, found, repair = store(here)
    assert state == "fault"
    assert endpoint in found
    assert "STRATA_S3_ENDPOINT" in repair
