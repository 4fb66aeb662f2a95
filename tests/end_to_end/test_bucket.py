"""The torch-free pipeline with its store in a bucket: nothing but the address differs."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.artifacts.store import open_store
from components.settings import Settings
from components.settings import settings as read_settings
from components.tracking.journal import metric_points, read_journal
from flows.run import carry_out, directly, make_plan
from flows.runs import find_run
from tests.processes import wait_until
from tests.sample_pipeline import job, unwatched
from tests.servers.moto_server import moto_server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with moto_server(tmp_path_factory.mktemp("moto")) as running:
        yield running


@pytest.fixture
def settings(server, tmp_path: Path, monkeypatch) -> Settings:
    store = f"s3://{server.bucket}/{tmp_path.name}"
    for name, value in (server.environment | {"STRATA_STORE": store}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "home"))
    return read_settings()


def run(settings, asked):
    plan = make_plan(asked, open_store(settings))
    return carry_out(asked, settings, plan, engine=directly, watcher=unwatched)


def test_a_run_lives_in_the_bucket_alone(settings, tmp_path, monkeypatch):
    outcome = run(settings, job())
    assert outcome.executed == ("first", "second", "third", "aside")
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "another machine"))
    elsewhere = read_settings()
    store = open_store(elsewhere)
    step = outcome.record.steps["third"]
    manifest = store.manifest("count", step.key)
    assert json.loads((store.files(manifest) / "numbers.json").read_bytes())[-1] == 3
    assert store.damaged(manifest) == []
    assert find_run(store).state == "done"
    attempt = store.attempts("count", step.key)[0]
    assert "counting from 0" in attempt.fetch_log().read_text()
    assert [p.step for p in metric_points([attempt.fetch_journal()])] == [0, 1, 2, 3]
    again = run(elsewhere, job())
    assert (again.executed, len(again.cached)) == ((), 4)


def test_a_damaged_file_is_found_and_made_again(settings, server):
    outcome = run(settings, job())
    store = open_store(settings)
    manifest = store.manifest("count", outcome.record.steps["second"].key)
    key = store.address(manifest).removeprefix(f"s3://{server.bucket}/")
    server.client().delete_object(Bucket=server.bucket, Key=f"{key}/numbers.json")
    assert store.missing(manifest) == ["numbers.json is missing"]
    assert run(settings, job()).executed == ("second",)


def test_a_stopped_step_goes_on_from_the_point_in_the_bucket(settings):
    asked = job(first={"upto": 300, "seconds_each": 0.02}, until="first")
    store = open_store(settings)
    key = make_plan(asked, store).steps["first"].key
    with ThreadPoolExecutor() as pool:
        running = pool.submit(run, settings, asked)
        first = store.attempt("count", key, 1)
        wait_until(lambda: (first.record("progress") or {}).get("done", 0) > 0, 30)
        fence = store.new_attempt("count", key).number  # whoever sees it stops
        assert running.result(60).executed == ("first",)
    manifest = store.manifest("count", key)
    assert (fence, manifest.attempt) == (2, 3)
    events = [r for r in read_journal(store.attempt("count", key, 3).fetch_journal()) if "at" in r]
    assert [0 < event["at"] < 300 for event in events] == [True]
    assert not any(attempt.has_resume_point() for attempt in store.attempts("count", key))
