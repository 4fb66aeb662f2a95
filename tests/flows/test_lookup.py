from __future__ import annotations

import pytest

from components.artifacts.store import open_store
from components.contract import BadInput, NotFound
from components.settings import Settings
from flows.lookup import find, of_step
from flows.run import carry_out, directly, make_plan
from tests.sample_pipeline import job, unwatched


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("lookup"), launcher="in_process")
    for changes in ({}, {"until": "first", "first": {"seed": 1}}):
        asked = job(**changes)
        plan = make_plan(asked, open_store(settings))
        carry_out(asked, settings, plan, engine=directly, watcher=unwatched)
    return open_store(settings)


def test_a_step_is_that_of_the_newest_run_that_has_it(store):
    newest, oldest = (find(store, name).run.id for name in ("first", "second"))
    assert newest > oldest
    assert find(store, f"{oldest}/first").manifest.config["seed"] == 0
    assert find(store, "first").manifest.config["seed"] == 1


def test_runs_and_artifacts_are_found_by_a_part_of_their_name(store):
    run = find(store, "latest").run
    assert find(store, run.id[-4:]).run.id == run.id
    key = run.steps["first"].key
    assert find(store, key[:10]).manifest.key == key
    assert find(store, f"{run.id}/").run.id == run.id


def test_what_does_not_exist_gets_a_suggestion(store):
    with pytest.raises(NotFound, match=r"Did you mean second\?"):
        find(store, "secnd")
    with pytest.raises(NotFound, match=r"Did you mean first\?"):
        find(store, "latest/frist")
    with pytest.raises(NotFound, match="strata run toy"):
        find(store, "latest", made=True)


def test_only_a_step_is_a_step(store):
    with pytest.raises(BadInput, match="RUN/STEP"):
        of_step(find(store, "latest"), "latest")


def test_several_runs_of_a_name_are_too_many(store):
    with pytest.raises(BadInput, match="several runs"):
        find(store, "counting")
