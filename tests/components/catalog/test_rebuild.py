"""A catalog made again from the store says what the one that the run wrote said."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from components.artifacts.store import open_store
from components.catalog import queries, record
from components.catalog.rebuild import rebuild
from components.catalog.session import open_catalog
from components.contract import Resources
from components.settings import Settings
from flows.attempts import StepFailed
from flows.run import Job, carry_out, directly, make_plan
from tests.catalog_contents import contents
from tests.sample_stages import COUNT, TABLE, CountConfig


def carry(settings: Settings, *, fail: str = "") -> None:
    def pipeline(step):
        first = step("first", COUNT, CountConfig())
        return step("second", COUNT, CountConfig(upto=4, fail=fail), before=first)

    job = Job(
        name="counting",
        pipeline=pipeline,
        resolved={"fail": fail},
        identity=fail,
        resources_of=lambda _step: Resources(),
        table=TABLE,
    )
    plan = make_plan(job, open_store(settings))
    carry_out(job, settings, plan, engine=directly, watcher=lambda _: contextlib.nullcontext())


@pytest.fixture
def settings(tmp_path: Path, catalog_url: str) -> Settings:
    return Settings(home=tmp_path / "home", catalog=catalog_url)


def test_rebuild_equals_what_the_runs_wrote_failures_included(settings):
    carry(settings)
    with pytest.raises(StepFailed):
        carry(settings, fail="bad_input")
    written = contents(settings.catalog_url)
    catalog = open_catalog(settings.catalog_url)
    counts = rebuild(catalog, open_store(settings))
    catalog.close()
    assert counts == {"runs": 2, "attempts": 3, "artifacts": 2}
    assert contents(settings.catalog_url) == written


def test_rebuild_removes_what_the_store_does_not_know(settings):
    carry(settings)
    catalog = open_catalog(settings.catalog_url)
    record.record_run(catalog, "ghost")
    record.record_step(catalog, "ghost", "corpus")
    record.record_attempt(catalog, "ghost", 1)
    rebuild(catalog, open_store(settings))
    assert [run.recipe for run in queries.runs(catalog)] == ["counting"]
    assert queries.attempts(catalog, "ghost") == []
