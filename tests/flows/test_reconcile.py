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
from components.contract import TryAgain
from components.settings import Settings
from flows.abandoned import Abandoned, Finding
from flows.cli import main
from flows.pulse import ask_to_stop, read_pulse
from flows.reconcile import Reconciler, news
from flows.run import carry_out, directly, make_plan
from flows.runs import RunRecord, find_run, newest_first, save_run
from tests.cluster import scenarios
from tests.fakes.cluster import FakeCluster, fake_cluster
from tests.processes import processes_of, wait_until
from tests.sample_pipeline import job, unwatched

SLOW = {"upto": 400, "seconds_each": 0.05}
ORCHESTRATE = """
import sys
from components.settings import settings as read
from components.artifacts.store import open_store
from flows.run import carry_out, directly, make_plan
from tests.sample_pipeline import job, unwatched
settings = read()
asked = job(second={"upto": int(sys.argv[1]), "seconds_each": 0.05})
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
    environment = {
        **os.environ,
        "STRATA_HOME": str(settings.home),
        "STRATA_LAUNCHER": settings.launcher,
        "STRATA_CLUSTER": settings.cluster,
    }
    arguments = [sys.executable, "-c", ORCHESTRATE, str(upto)]
    process = subprocess.Popen(arguments, env=environment)
    store = open_store(settings)

    def counts() -> bool:
        assert process.poll() is None
        step = next((run.steps.get("second") for run in newest_first(store)), None)
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


def test_rounds_outlive_a_store_that_is_away_and_say_so_once(settings, monkeypatch):
    away, closed = TryAgain("the bucket does not answer"), Finding("closed", "r")
    answers = iter([[closed], away, away, [], [closed]])

    def round_of(self, *, dry_run):
        answer = next(answers)
        if answer is away:
            raise answer
        return answer

    monkeypatch.setattr(Reconciler, "round", round_of)
    found = news(Reconciler(settings).rounds(0.0))
    assert next(found) == closed
    sign = settings.home / "reconciled"
    sign.unlink()
    assert next(found) == Finding("left", cause="the bucket does not answer")
    assert not sign.exists(), "a round that did not get through"
    assert next(found) == closed, "it was gone in between"
    assert sign.exists()


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


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with fake_cluster(tmp_path_factory.mktemp("cluster")) as running:
        running.add_node("steady", images={scenarios.IMAGE})
        yield running


@pytest.fixture
def place(cluster: FakeCluster, tmp_path: Path) -> Iterator[scenarios.Place]:
    with scenarios.place(cluster.kubeconfig, tmp_path) as made:
        yield made
    for node in cluster.nodes.values():
        node.come_back()


@pytest.fixture
def on_cluster(place: scenarios.Place, tmp_path: Path) -> Settings:
    home = tmp_path / "home"
    return Settings(home=home, launcher="kubernetes", cluster=str(place.description()))


@pytest.fixture
def watching(on_cluster: Settings) -> Iterator[Reconciler]:
    with contextlib.closing(Reconciler(on_cluster, tell_nobody, look_seconds=0.2)) as made:
        yield made


def abandon(settings: Settings, upto: int = 400) -> None:
    """Kill an orchestrator; its Job goes on."""
    process = orchestrate(settings, upto)
    process.kill()
    process.wait()


def closing(reconciler: Reconciler, seconds: float = 60) -> list[Finding]:
    """Reconcile until the newest run is closed; return what was found then."""
    findings: list[Finding] = []

    def closed() -> bool:
        findings[:] = reconciler.round()
        return record_of(reconciler.settings).state != "running"

    wait_until(closed, seconds)
    return findings


def node_of(cluster: FakeCluster, pod: str):
    (node,) = [node for node in cluster.nodes.values() if pod in node.pods()]
    return node


def delete_pod(cluster: FakeCluster, place: scenarios.Place) -> None:
    place.core.delete_namespaced_pod(place.pod(), place.namespace, _preload_content=False)


def out_of_memory(cluster: FakeCluster, place: scenarios.Place) -> None:
    node_of(cluster, place.pod()).oom(place.pod())


def evict(cluster: FakeCluster, place: scenarios.Place) -> None:
    node_of(cluster, place.pod()).evict(place.pod())


def lose_node(cluster: FakeCluster, place: scenarios.Place) -> None:
    node_of(cluster, place.pod()).vanish()


def delete_job(cluster: FakeCluster, place: scenarios.Place) -> None:
    jobs = [job["metadata"]["name"] for job in place.items("jobs")]
    (name,) = [name for name in jobs if place.pod().startswith(name)]
    place.batch.delete_namespaced_job(
        name, place.namespace, propagation_policy="Background", _preload_content=False
    )


def pods_that_run(place: scenarios.Place) -> list[str]:
    return [p["metadata"]["name"] for p in place.items("pods") if p["status"]["phase"] == "Running"]


@pytest.fixture(autouse=True)
def one_pod_at_a_time(monkeypatch):
    """Let `Place.pod` name the pod that runs; ended Jobs keep theirs for a while."""

    def running(place: scenarios.Place) -> str:
        (name,) = pods_that_run(place)
        return name

    monkeypatch.setattr(scenarios.Place, "pod", running)


def test_a_job_without_an_orchestrator_is_adopted(on_cluster, watching, place):
    abandon(on_cluster, 120)
    (alive,) = watching.round()
    assert (alive.kind, alive.step, alive.attempt) == ("adopted", "second", 1)
    assert record_of(on_cluster).state == "running"
    assert len(pods_that_run(place)) == 1
    step, run = closing(watching)
    assert (step.kind, step.cause) == ("adopted", "it has committed its artifact")
    assert run.cause.endswith("is gone; the same command continues it")
    record = record_of(on_cluster)
    assert (record.state, record.steps["second"].state) == ("stopped", "done")
    assert said(on_cluster) == (["stopped"], ["done", "done"])
    assert watching.round() == []


@pytest.mark.parametrize(
    ("fault", "run", "step", "attempt", "cause"),
    [
        (delete_pod, "stopped", "stopped", "stopped", "stopped at"),
        (evict, "stopped", "stopped", "stopped", "evicted"),
        (out_of_memory, "failed", "failed", "failed", "out of memory"),
        (delete_job, "stopped", "stopped", "stopped", "stopped at"),
        (lose_node, "stopped", "stopped", "stopped", "node lost"),
    ],
)
def test_a_job_that_dies_unwatched_is_closed_with_its_cause(
    cluster, place, on_cluster, watching, fault, run, step, attempt, cause
):
    abandon(on_cluster)
    assert [each.kind for each in watching.round()] == ["adopted"]
    fault(cluster, place)
    findings = closing(watching)
    assert cause in findings[0].cause
    record = record_of(on_cluster)
    assert (record.state, record.steps["second"].state) == (run, step)
    assert said(on_cluster) == ([run], ["done", attempt])
    assert record.steps["second"].cause.splitlines()[1:] == list(findings[0].lines)
    assert watching.round() == []
    for node in cluster.nodes.values():
        node.come_back()
    wait_until(lambda: not pods_that_run(place), 30)


def test_a_cancelled_run_frees_its_place(on_cluster, place, monkeypatch, capsys):
    for name in ("home", "launcher", "cluster"):
        monkeypatch.setenv(f"STRATA_{name.upper()}", str(getattr(on_cluster, name)))
    abandon(on_cluster)
    assert main(["cancel"]) == 0
    assert "has stopped" in capsys.readouterr().out
    record = record_of(on_cluster)
    assert (record.state, record.cause) == ("stopped", "cancelled")
    assert pods_that_run(place) == []
    key = record.steps["second"].key
    assert open_store(on_cluster).attempt("count", key, 1).has_resume_point()
    assert main(["cancel"]) == 2
    assert "is stopped: there is nothing to stop" in capsys.readouterr().err
    assert main(["reconcile", "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"


def test_an_older_attempt_is_fenced(on_cluster, watching, place):
    abandon(on_cluster)
    store = open_store(on_cluster)
    key = record_of(on_cluster).steps["second"].key
    store.new_attempt("count", key)
    findings = watching.round()
    assert ("fenced", "second", 1, "attempt 2 is newer") in [
        (each.kind, each.step, each.attempt, each.cause) for each in findings
    ]
    wait_until(lambda: not pods_that_run(place), 30)


def test_a_healthy_run_on_the_cluster_is_never_touched(cluster, on_cluster, watching, place):
    process = orchestrate(on_cluster, 200)
    cluster.api.away(2.0)
    while process.poll() is None:
        found = watching.round()
        assert {each.kind for each in found} <= {"left"}, found
    assert process.returncode == 0
    record = record_of(on_cluster)
    assert record.state == "done"
    assert {step.attempt for step in record.steps.values()} == {1}


def test_a_cluster_that_is_away_proves_nothing(cluster, on_cluster, watching):
    abandon(on_cluster)
    watching.round()
    cluster.api.away(4.0)
    kinds = {each.kind for each in watching.round()}
    assert record_of(on_cluster).state == "running"
    assert kinds <= {"left", "adopted"}
    ask_to_stop(open_store(on_cluster), record_of(on_cluster).id)
    closing(watching)
