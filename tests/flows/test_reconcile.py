"""The reconciler on runs of torch-free steps, with real orchestrators that die or live."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.artifacts.store import open_store
from components.catalog import queries
from components.catalog.session import open_catalog
from components.settings import Settings
from flows.reconcile import CLOSED_CAUSE, reconcile
from flows.run import carry_out, directly, make_plan
from flows.runs import find_run, load_run, newest_first, save_run
from tests.processes import wait_until
from tests.sample_pipeline import job, unwatched

ORCHESTRATOR = """
import sys
from pathlib import Path
from components.artifacts.store import open_store
from components.settings import Settings
from flows.run import carry_out, directly, make_plan
from tests.sample_pipeline import job, unwatched
here = Settings(home=Path(sys.argv[1]))
asked = job(second={"upto": 4000, "seconds_each": 0.05})
carry_out(asked, here, make_plan(asked, open_store(here)), engine=directly, watcher=unwatched)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def orchestrator(settings):
    """Start a run whose second step takes minutes, and wait until it counts."""
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", ORCHESTRATOR, str(settings.home)],
        env={**os.environ, "PYTHONPATH": paths},
        stderr=subprocess.DEVNULL,
    )

    def counts() -> bool:
        record = next(newest_first(open_store(settings)), None)
        step = record.steps["second"] if record else None
        if step is None or not step.key or not step.attempt:
            return False
        attempt = open_store(settings).attempt(step.stage, step.key, step.attempt)
        return (attempt.record("progress") or {}).get("done", 0) > 1

    wait_until(counts, 60)
    yield process
    process.kill()
    process.wait()


def die(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def age(settings: Settings, seconds: float) -> None:
    """Let the heartbeat of the running step be so much older."""
    store = open_store(settings)
    step = find_run(store).steps["second"]
    attempt = store.attempts(step.stage, step.key)[-1]
    progress = attempt.record("progress")
    attempt.write_record("progress", {**progress, "time": progress["time"] - seconds})


def test_a_healthy_run_is_never_touched(settings, orchestrator):
    before = find_run(open_store(settings))
    for _ in range(10):
        assert reconcile(settings) == []
    now = find_run(open_store(settings))
    assert (now.state, now.pid) == ("running", before.pid)
    assert orchestrator.poll() is None


def test_a_dead_orchestrator_is_closed_everywhere_with_its_cause(settings, orchestrator):
    die(orchestrator)
    age(settings, 60)
    would = {(f.step, f.action) for f in reconcile(settings, dry_run=True)}
    assert find_run(open_store(settings)).state == "running", "a dry run changes nothing"
    findings = reconcile(settings)
    assert {(f.step, f.action) for f in findings} == would == {("second", "closed"), ("", "closed")}
    record = find_run(open_store(settings))
    assert (record.state, record.cause) == ("stopped", CLOSED_CAUSE)
    states = {name: step.state for name, step in record.steps.items()}
    assert states == {"first": "done", "second": "stopped", "third": "skipped", "aside": "skipped"}
    assert "counting from 0" in record.steps["second"].cause
    catalog = open_catalog(settings.catalog_url)
    assert queries.run(catalog, record.id).state == "stopped"
    attempts = {a.key: a.state for a in queries.attempts_of_run(catalog, record.id)}
    assert attempts[record.steps["second"].key] == "lost"
    assert reconcile(settings) == [], "once is enough"


def test_the_closed_run_is_continued_by_the_same_command(settings, orchestrator):
    die(orchestrator)
    reconcile(settings)
    closed = find_run(open_store(settings))
    asked = job(second={"upto": 4000, "seconds_each": 0.05}, until="first")
    plan = make_plan(asked, open_store(settings))
    carry_out(asked, settings, plan, engine=directly, watcher=unwatched)
    assert load_run(open_store(settings), closed.id).state == "stopped"


def test_an_attempt_that_beats_is_left_running(settings, orchestrator):
    die(orchestrator)
    (step, run) = reconcile(settings)
    assert (step.step, step.action) == ("second", "left running")
    assert run.action == "closed"


def test_an_artifact_that_was_made_unwatched_is_adopted(settings):
    asked = job()
    plan = make_plan(asked, open_store(settings))
    carry_out(asked, settings, plan, engine=directly, watcher=unwatched)
    store = open_store(settings)
    record = find_run(store)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    step = record.steps["third"].model_copy(update={"state": "running", "digest": None})
    lost = {"state": "running", "pid": dead.pid, "steps": {**record.steps, "third": step}}
    save_run(store, record.model_copy(update=lost))
    assert [(f.step, f.action) for f in reconcile(settings)] == [
        ("third", "adopted"),
        ("", "closed"),
    ]
    assert find_run(store).steps["third"].digest == record.steps["third"].digest


def test_two_at_once_close_a_run_once(settings, orchestrator):
    die(orchestrator)
    age(settings, 60)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: reconcile(settings), range(4)))
    assert sorted(map(len, found)) == [0, 0, 0, 2]


def test_a_run_on_another_machine_is_left_alone(settings, orchestrator):
    die(orchestrator)
    store = open_store(settings)
    save_run(store, find_run(store).model_copy(update={"host": "elsewhere"}))
    assert reconcile(settings) == []
    assert find_run(store).state == "running"
