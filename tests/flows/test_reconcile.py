"""The reconciler on real runs of torch-free steps, whose orchestrators are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.artifacts.store import open_store
from components.catalog import queries
from components.catalog.session import open_catalog
from components.settings import Settings
from flows.abandoned import Abandoned
from flows.pulse import ask_to_stop, read_pulse
from flows.reconcile import Reconciler
from flows.run import carry_out, directly, make_plan
from flows.runs import RunRecord, find_run, save_run
from tests.processes import processes_of, wait_until
from tests.sample_pipeline import job, unwatched

SLOW = {"upto": 400, "seconds_each": 0.05}
ORCHESTRATE = """
import sys
from pathlib import Path
from components.settings import Settings
from components.artifacts.store import open_store
from flows.run import carry_out, directly, make_plan
from tests.sample_pipeline import job, unwatched
settings = Settings(home=Path(sys.argv[1]))
asked = job(second={"upto": int(sys.argv[2]), "seconds_each": 0.05})
plan = make_plan(asked, open_store(settings))
carry_out(asked, settings, plan, engine=directly, watcher=unwatched)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def reconciler(settings: Settings) -> Iterator[Reconciler]:
    with contextlib.closing(Reconciler(settings, tell_nobody, look_seconds=0.2)) as made:
        yield made


def tell_nobody(run: Abandoned) -> None:
    """Leave out Prefect and MLflow, which take seconds."""


def asked(upto: int):
    return job(second={**SLOW, "upto": upto})


def orchestrate(settings: Settings, upto: int = 400) -> subprocess.Popen[bytes]:
    """Start a run in a process of its own; return once its second step counts."""
    environment = {**os.environ, "STRATA_HOME": str(settings.home)}
    arguments = [sys.executable, "-c", ORCHESTRATE, str(settings.home), str(upto)]
    process = subprocess.Popen(arguments, env=environment)
    store = open_store(settings)

    def counts() -> bool:
        assert process.poll() is None
        if not list(store.objects.names("runs")):
            return False
        step = find_run(store).steps.get("second")
        if step is None or step.attempt is None or step.key is None:
            return False
        progress = store.attempt("count", step.key, step.attempt).record("progress") or {}
        return progress.get("done", 0) > 1

    wait_until(counts, 60)
    return process


def kill(process: subprocess.Popen[bytes], settings: Settings) -> None:
    """Kill an orchestrator and wait until its workers have ended with it."""
    process.kill()
    process.wait()
    wait_until(lambda: not processes_of(settings.home), 30)


def resume(settings: Settings, upto: int = 400):
    plan = make_plan(asked(upto), open_store(settings))
    return carry_out(asked(upto), settings, plan, engine=directly, watcher=unwatched)


def record_of(settings: Settings) -> RunRecord:
    return find_run(open_store(settings))


def said(settings: Settings) -> tuple[list[str], list[str]]:
    """Return the states that the catalog has of the run and of its attempts."""
    catalog = open_catalog(settings.catalog_url)
    record = record_of(settings)
    attempts = queries.attempts_of_run(catalog, record.id)
    states = [queries.run(catalog, record.id).state], [each.state for each in attempts]
    catalog.close()
    return states


def test_a_run_whose_orchestrator_was_killed_is_closed_with_its_cause(settings, reconciler):
    process = orchestrate(settings)
    assert reconciler.round() == []
    kill(process, settings)
    step, run = reconciler.round()
    assert (step.kind, step.step, step.attempt) == ("closed", "second", 1)
    assert step.lines == ("counting from 0",)
    assert (run.kind, run.step) == ("closed", "")
    record = record_of(settings)
    assert record.state == "stopped"
    assert record.pid is None
    assert f"process {process.pid} on {socket.gethostname()}) is gone" in record.cause
    states = {name: each.state for name, each in record.steps.items()}
    assert states == {"first": "done", "second": "stopped", "third": "skipped", "aside": "skipped"}
    assert record.steps["second"].cause.splitlines()[1:] == ["counting from 0"]
    assert said(settings) == (["stopped"], ["done", "lost"])
    assert reconciler.round() == []


def test_the_same_command_continues_what_was_closed(settings, reconciler):
    kill(orchestrate(settings, 120), settings)
    before = record_of(settings).id
    assert reconciler.round()
    outcome = resume(settings, 120)
    assert (outcome.record.id, outcome.record.state) == (before, "done")
    assert outcome.record.steps["second"].attempt == 2
    assert reconciler.round() == []
    assert sorted(said(settings)[1]) == ["done", "done", "done", "done", "lost"]


def test_the_attempt_before_the_newest_is_closed_after_a_run_was_continued(settings, reconciler):
    kill(orchestrate(settings, 120), settings)
    resume(settings, 120)
    assert "running" in said(settings)[1]
    (left,) = reconciler.round()
    assert (left.kind, left.step, left.attempt) == ("closed", "second", 1)
    assert "running" not in said(settings)[1]
    assert record_of(settings).state == "done"
    assert reconciler.round() == []


def test_what_has_committed_is_recorded(settings, reconciler):
    """The orchestrator dies after the last commit and before it wrote that down."""
    resume(settings, 4)
    record = record_of(settings)
    digest = record.steps["aside"].digest
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    record.state, record.ended, record.pid = "running", None, gone.pid
    record.host = socket.gethostname()
    record.steps["aside"] = record.steps["aside"].model_copy(
        update={"state": "running", "digest": None, "ended": None}
    )
    save_run(open_store(settings), record)
    step, run = reconciler.round()
    assert (step.kind, step.step) == ("adopted", "aside")
    assert run.cause == "done"
    after = record_of(settings)
    assert after.state == "done"
    assert after.steps["aside"].digest == digest
    assert reconciler.round() == []


def test_a_healthy_run_is_never_touched(settings, reconciler):
    process = orchestrate(settings, 120)
    rounds = 0
    while process.poll() is None:
        assert reconciler.round() == []
        rounds += 1
    assert process.returncode == 0
    assert rounds > 3
    record = record_of(settings)
    assert record.state == "done"
    assert {step.attempt for step in record.steps.values()} == {1}


def test_a_killed_worker_is_its_orchestrator_s_business(settings, reconciler):
    process = orchestrate(settings)
    (worker,) = [pid for pid in processes_of(settings.home) if pid != process.pid]
    os.kill(worker, signal.SIGKILL)
    while process.poll() is None:
        assert reconciler.round() == []
    record = record_of(settings)
    assert record.state == "failed"
    assert record.steps["second"].cause == "killed"
    assert reconciler.round() == []


def test_a_dry_run_changes_nothing(settings, reconciler):
    kill(orchestrate(settings), settings)
    before = record_of(settings)
    findings = reconciler.round(dry_run=True)
    assert [finding.kind for finding in findings] == ["closed", "closed"]
    assert record_of(settings) == before
    assert said(settings) == (["running"], ["done", "running"])
    assert reconciler.round() == findings


def test_two_reconcilers_close_a_run_once(settings):
    kill(orchestrate(settings), settings)
    both = [Reconciler(settings, tell_nobody, look_seconds=0.2) for _ in range(2)]
    barrier = threading.Barrier(2)
    found: list[list[object]] = []

    def work(reconciler: Reconciler) -> None:
        barrier.wait()
        found.append(reconciler.round())

    threads = [threading.Thread(target=work, args=(each,)) for each in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert record_of(settings).state == "stopped"
    assert said(settings) == (["stopped"], ["done", "lost"])
    assert [each for reconciler in both for each in reconciler.round()] == []
    catalog = open_catalog(settings.catalog_url)
    names = [event.name for event in queries.events(catalog, run_id=record_of(settings).id)]
    catalog.close()
    assert names.count("reconciled") == 1


def test_a_run_of_another_machine_is_left_alone(settings, reconciler):
    kill(orchestrate(settings), settings)
    store = open_store(settings)
    record = record_of(settings)
    record.host = "elsewhere"
    save_run(store, record)
    (left,) = reconciler.round()
    assert left.kind == "left"
    assert "cannot be seen" in left.cause
    assert record_of(settings) == record


def test_an_orchestrator_gives_signs_of_life_and_stops_when_it_is_to(settings):
    process = orchestrate(settings)
    store = open_store(settings)
    run_id = record_of(settings).id
    sign = read_pulse(store, run_id)
    assert (sign.host, sign.pid) == (socket.gethostname(), process.pid)
    assert abs(time.time() - sign.time) < 30
    ask_to_stop(store, run_id)
    process.wait(60)
    assert record_of(settings).state == "stopped"
    assert (
        open_store(settings)
        .attempt("count", record_of(settings).steps["second"].key, 1)
        .has_resume_point()
    )
