"""Planning states and their reasons, on artifacts made by the real launcher."""

from __future__ import annotations

import pytest

from components.artifacts.manifest import Manifest
from components.artifacts.store import open_store
from components.contract import Stage
from components.settings import Settings
from flows.plan import Ingredients, Planner, differences, why_made
from flows.plan_table import plan_table
from flows.run import carry_out, directly, make_plan
from tests.sample_pipeline import job, unwatched
from tests.sample_stages import COUNT, CountConfig


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home", launcher="in_process")


def made(settings, **changes):
    asked = job(**changes)
    plan = make_plan(asked, open_store(settings))
    return carry_out(asked, settings, plan, engine=directly, watcher=unwatched)


def manifest(settings, outcome, step) -> Manifest:
    found = open_store(settings).manifest("count", outcome.record.steps[step].key)
    assert found is not None
    return found


def now(config=None, stage: Stage = COUNT, revisions=None, inputs=()):
    return Ingredients(stage, config or CountConfig(upto=2), revisions or {}, tuple(inputs))


def test_each_kind_of_change_is_named(settings):
    first = manifest(settings, made(settings), "first")
    assert differences(first, now()) == []
    assert differences(first, now(CountConfig(upto=9))) == ["config: upto 2 → 9"]
    assert differences(first, now(revisions={"words": "1:2"})) == ["source: words nothing → 1:2"]
    other = first.model_copy(
        update={"code_digest": "x", "code_modules": {"tests.sample_stages": "y", "tests.gone": "z"}}
    )
    code = differences(other, now())[0]
    assert code.startswith("code: tests/sample_stages.py") or "tests/gone.py removed" in code
    older = first.model_copy(update={"packages": {"numpy": "1.0"}})
    assert differences(older, now()) == ["package: numpy 1.0 → nothing"]


def test_an_input_with_other_content_is_named(settings):
    outcome = made(settings)
    second = manifest(settings, outcome, "second")
    changed = second.inputs[0].model_copy(update={"digest": "f" * 64})
    found = differences(second, now(CountConfig(upto=3), inputs=[changed]))
    assert found == [
        f"input: before (first) is {'f' * 12} instead of {second.inputs[0].digest[:12]}"
    ]


def test_what_was_never_made_says_so(settings):
    assert why_made(open_store(settings), None, now()) == ("never made before",)


def test_a_step_that_waits_names_its_parent_and_its_own_change(settings):
    made(settings)
    plan = make_plan(job(first={"upto": 9}, second={"seed": 4}), open_store(settings))
    assert plan.steps["second"].reasons == ("depends on first", "config: seed 0 → 4")
    text = plan_table(plan)
    assert "config: upto 2 → 9" in text
    assert "3 run" in text


def test_stale_code_is_used_only_when_it_is_accepted(settings):
    outcome = made(settings)
    store = open_store(settings)
    first = manifest(settings, outcome, "first")
    # The artifact as an older code would have left it: another key and another code digest.
    old = first.model_copy(update={"key": "0" * 64, "code_digest": "old", "code_modules": {}})
    files = store.files(first)
    target = store.attempt("count", "0" * 64, 1).files
    target.mkdir(parents=True)
    (target / "numbers.json").write_bytes((files / "numbers.json").read_bytes())
    store.commit(old)
    store.objects.delete(f"artifacts/count/{first.key}/manifest.json")
    refused = Planner(store)("first", COUNT, CountConfig(upto=2))
    assert refused.state == "runs"
    taken = Planner(store, accept_stale=frozenset({"first"}))("first", COUNT, CountConfig(upto=2))
    assert (taken.state, taken.key) == ("cached", "0" * 64)
    assert taken.exceptions == ("first: stale artifact 000000000000 accepted",)
    other = Planner(store, accept_stale=frozenset({"first"}))("first", COUNT, CountConfig(upto=3))
    assert other.state == "runs"


def test_an_accepted_exception_follows_into_the_manifests(settings):
    outcome = made(settings)
    store = open_store(settings)
    first = manifest(settings, outcome, "first")
    old = first.model_copy(update={"key": "0" * 64, "code_digest": "old"})
    target = store.attempt("count", "0" * 64, 1).files
    target.mkdir(parents=True)
    (target / "numbers.json").write_bytes((store.files(first) / "numbers.json").read_bytes())
    store.commit(old)
    store.objects.delete(f"artifacts/count/{first.key}/manifest.json")
    again = made(settings, accept_stale=frozenset({"first"}), second={"seed": 8})
    assert again.executed == ("second",)
    assert manifest(settings, again, "second").exceptions == (
        "first: stale artifact 000000000000 accepted",
    )
    assert again.record.exceptions == ("first: stale artifact 000000000000 accepted",)


def test_a_plan_without_work_is_one_line(settings):
    made(settings)
    plan = make_plan(job(), open_store(settings))
    assert plan_table(plan) == "plan: all 4 steps are cached; nothing runs"
