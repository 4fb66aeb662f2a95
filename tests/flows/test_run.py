"""A three-step pipeline of torch-free stages, through the real launcher, store and catalog."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.artifacts.store import open_store
from components.contract import NotFound, TryAgain
from components.settings import Settings
from flows.attempts import Interrupted, StepFailed
from flows.run import carry_out, directly, make_plan
from flows.runs import find_run, newest_first, run_lock
from tests.sample_pipeline import job, unwatched


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def run(settings, asked):
    plan = make_plan(asked, open_store(settings))
    return carry_out(asked, settings, plan, engine=directly, watcher=unwatched)


def numbers(settings, outcome, step):
    store = open_store(settings)
    record = outcome.record.steps[step]
    manifest = store.manifest("count", record.key)
    return json.loads((store.files(manifest) / "numbers.json").read_text())


def test_a_run_makes_every_step_and_a_second_one_makes_none(settings):
    outcome = run(settings, job())
    assert outcome.executed == ("first", "second", "third", "aside")
    assert numbers(settings, outcome, "third") == [0, 1, 0, 1, 2, 0, 1, 2, 3]
    again = run(settings, job())
    assert again.executed == ()
    assert set(again.cached) == {"first", "second", "third", "aside"}
    assert again.record.id == outcome.record.id
    store = open_store(settings)
    assert len(list(newest_first(store))) == 1
    assert find_run(store).state == "done"


def test_new_makes_another_run_of_cached_artifacts(settings):
    first = run(settings, job())
    second = run(settings, job(new=True))
    assert second.executed == ()
    assert second.record.id != first.record.id
    assert second.record.state == "done"
    assert {step.state for step in second.record.steps.values()} == {"cached"}


def test_a_changed_field_runs_its_step_and_what_depends_on_it(settings):
    run(settings, job())
    store = open_store(settings)
    plan = make_plan(job(second={"seed": 1}), store)
    assert [step.state for step in plan.steps.values()] == ["cached", "runs", "depends", "cached"]
    assert plan.steps["second"].reasons == ("config: seed 0 → 1",)
    assert plan.steps["third"].reasons == ("depends on second",)
    # The seed does not change what is counted, so the third step finds equal content and stays.
    assert run(settings, job(second={"seed": 1})).executed == ("second",)


def test_a_plan_leaves_no_trace(settings):
    make_plan(job(), open_store(settings))
    assert not settings.home.exists()


def test_until_makes_a_part_only(settings):
    outcome = run(settings, job(until="second"))
    assert outcome.executed == ("first", "second")
    with pytest.raises(NotFound, match="Did you mean second"):
        run(settings, job(until="secnd"))


def test_a_deleted_file_is_found_and_made_again(settings):
    outcome = run(settings, job())
    store = open_store(settings)
    manifest = store.manifest("count", outcome.record.steps["second"].key)
    (store.files(manifest) / "numbers.json").unlink()
    plan = make_plan(job(), store)
    assert plan.steps["second"].reasons == ("damaged: numbers.json is missing",)
    assert run(settings, job()).executed == ("second",)
    place = f"artifacts/count/{manifest.key}/condemned"
    assert len(list(store.objects.names(place))) == 1
    assert run(settings, job()).executed == ()


def test_a_failed_run_is_continued_under_its_id(settings):
    broken = {"third": {"fail": "error", "fail_attempts": 2}}
    with pytest.raises(StepFailed, match="broken on purpose") as failed:
        run(settings, job(**broken))
    assert failed.value.exit_code == 1
    store = open_store(settings)
    record = find_run(store)
    assert record.state == "failed"
    assert record.steps["third"].cause == "RuntimeError: broken on purpose"
    key = record.steps["third"].key
    assert [a.number for a in store.attempts("count", key)] == [1, 2]
    outcome = run(settings, job(**broken))
    assert outcome.executed == ("third", "aside")
    assert outcome.record.id == record.id
    assert outcome.record.steps["third"].attempt == 3


@pytest.mark.parametrize(
    ("how", "code"), [("bad_input", 2), ("environment", 3), ("guard", 4), ("kill", 137)]
)
def test_some_causes_are_never_retried(settings, how, code):
    with pytest.raises(StepFailed) as failed:
        run(settings, job(first={"fail": how}))
    assert failed.value.exit_code == code
    store = open_store(settings)
    key = find_run(store).steps["first"].key
    assert len(store.attempts("count", key)) == 1


def test_one_orchestrator_a_run(settings):
    with pytest.raises(StepFailed):
        run(settings, job(first={"fail": "guard"}))
    record = find_run(open_store(settings))
    with run_lock(settings, record.id), pytest.raises(TryAgain, match="another process"):
        run(settings, job(first={"fail": "guard"}))


def test_a_stop_saves_and_the_same_command_continues(settings):
    slow = {"first": {"upto": 200, "seconds_each": 0.02}}
    asked = job(**slow)

    def stopping(run, pipeline):
        import threading

        threading.Timer(2.0, run.stop.set).start()
        directly(run, pipeline)

    plan = make_plan(asked, open_store(settings))
    with pytest.raises(Interrupted):
        carry_out(asked, settings, plan, engine=stopping, watcher=unwatched)
    store = open_store(settings)
    record = find_run(store)
    assert record.state == "stopped"
    attempt = store.attempts("count", record.steps["first"].key)[-1]
    assert (attempt.resume / "at.json").exists()
    plan = make_plan(asked, store)
    assert plan.steps["first"].reasons[0] == "attempt 1 continues"
    outcome = run(settings, asked)
    assert outcome.record.id == record.id
    assert (
        "counting from 0"
        not in store.attempts("count", record.steps["first"].key)[-1].log.read_text()
    )
