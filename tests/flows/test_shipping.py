"""A run reaches MLflow while it goes, a gap is told and filled, and a fault never fails the run."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from components.artifacts.store import open_store
from components.contract import Resources, TryAgain
from components.settings import Settings
from flows.attempts import StepFailed
from flows.run import Job, carry_out, directly, make_plan
from flows.runs import RunRecord, find_run, newest_first
from flows.server_processes import free_port
from flows.server_programs import mlflow_database
from flows.shipping import behind, catch_up, rebuild_mlflow, ship_once, shipping, snapshot
from tests.sample_stages import COUNT, TABLE, CountConfig


def carry(settings: Settings, *, fail: str = "") -> None:
    def pipeline(step):
        first = step("first", COUNT, CountConfig())
        return step("second", COUNT, CountConfig(upto=4, fail=fail), before=first)

    job = Job(
        name="counting",
        pipeline=pipeline,
        resolved={"second": {"fail": fail}},
        identity=fail,
        resources_of=lambda _step: Resources(),
        table=TABLE,
    )
    plan = make_plan(job, open_store(settings))
    carry_out(job, settings, plan, engine=directly, watcher=lambda _: contextlib.nullcontext())


def shown(settings: Settings) -> dict[tuple[str, str], str]:
    """Return the status of every MLflow run by pipeline run and step."""
    client = MlflowClient(tracking_uri=mlflow_database(settings))
    experiment = client.get_experiment_by_name("strata")
    return {
        (run.data.tags["strata.run_id"], run.data.tags.get("strata.step", "")): run.info.status
        for run in client.search_runs([experiment.experiment_id])
    }


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def test_the_end_of_the_body_is_sent_too(settings):
    carry(settings)
    done = find_run(open_store(settings))
    box: list[RunRecord] = [done.model_copy(update={"state": "running", "ended": None})]
    links: dict[str, str] = {}
    gaps: list[str] = []
    with shipping(settings, lambda: box[0], on_links=links.update, on_gap=gaps.append):
        box[0] = done
    assert gaps == []
    assert shown(settings) == {
        (done.id, ""): "FINISHED",
        (done.id, "first"): "FINISHED",
        (done.id, "second"): "FINISHED",
    }
    assert set(links) == {"mlflow_run"}  # there is no server, so there is no page


def test_a_run_that_its_orchestrator_left_open_is_closed(settings):
    carry(settings)
    store = open_store(settings)
    done = find_run(store)
    steps = {**done.steps, "second": done.steps["second"].model_copy(update={"state": "running"})}
    ship_once(settings, store, done.model_copy(update={"state": "running", "steps": steps}))
    assert shown(settings)[done.id, ""] == "RUNNING"
    steps["second"] = steps["second"].model_copy(update={"state": "stopped", "cause": "evicted"})
    ship_once(settings, store, done.model_copy(update={"state": "stopped", "steps": steps}))
    assert shown(settings)[done.id, ""] == "KILLED"
    assert shown(settings)[done.id, "second"] == "KILLED"
    away = settings.model_copy(update={"mlflow": f"http://127.0.0.1:{free_port()}"})
    ship_once(away, store, done)  # nobody is there to be told


def test_an_mlflow_that_is_away_leaves_a_gap_that_rebuild_fills(settings):
    carry(settings)
    with pytest.raises(StepFailed):
        carry(settings, fail="bad_input")
    away = settings.model_copy(update={"mlflow": f"http://127.0.0.1:{free_port()}"})
    gaps: list[str] = []
    before = time.monotonic()
    failed = next(r for r in newest_first(open_store(settings)) if r.state == "failed")
    with shipping(away, lambda: failed, on_gap=gaps.append):
        pass
    assert time.monotonic() - before < 30
    assert "does not answer" in gaps[0]
    with pytest.raises(TryAgain, match=r"127\.0\.0\.1"):
        rebuild_mlflow(away)
    assert rebuild_mlflow(settings) == 2
    found = shown(settings)
    assert found[failed.id, "second"] == "FAILED"
    assert found[failed.id, ""] == "FAILED"
    assert len(found) == 6
    assert rebuild_mlflow(settings) == 2
    assert shown(settings) == found


def test_the_next_run_sends_what_mlflow_missed(settings, monkeypatch):
    carry(settings)
    missed = find_run(open_store(settings))
    away = settings.model_copy(update={"mlflow": f"http://127.0.0.1:{free_port()}"})
    with shipping(away, lambda: missed):
        pass
    assert behind(settings, open_store(settings)) == []  # its own process may still be at it
    monkeypatch.setattr("flows.shipping.SETTLED_SECONDS", 0.0)
    assert [record.id for record in behind(settings, open_store(settings))] == [missed.id]
    assert catch_up(settings) == 1
    assert shown(settings)[missed.id, "second"] == "FINISHED"
    assert behind(settings, open_store(settings)) == []
    assert catch_up(settings) == 0


def test_a_fault_of_the_shipper_does_not_reach_the_run(settings):
    def broken() -> RunRecord:
        raise KeyError("broken on purpose")

    gaps: list[str] = []
    with shipping(settings, broken, on_gap=gaps.append):
        pass
    assert "broken on purpose" in gaps[0]


def test_a_snapshot_has_the_steps_in_the_order_of_the_recipe(settings):
    carry(settings)
    taken = snapshot(find_run(open_store(settings)))
    assert [(step.step, step.state) for step in taken.steps] == [
        ("first", "done"),
        ("second", "done"),
    ]
    assert taken.ended is not None
