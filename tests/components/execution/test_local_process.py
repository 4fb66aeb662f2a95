from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.contract import Resources
from components.execution.launch import Ended, Running, Unknown
from components.execution.local_process import LocalProcessLauncher


@pytest.fixture
def launcher():
    launcher = LocalProcessLauncher()
    yield launcher
    launcher.close()


def finish(launcher, request):
    handle = launcher.submit(request)
    status = launcher.wait(handle, 60)
    assert isinstance(status, Ended), status
    return status


def worker_pid(store, request):
    return store.attempt("count", request.key, request.attempt).record("progress")["pid"]


def test_steps_share_a_warm_worker_and_cold_ones_give_equal_bytes(store, launcher, request_count):
    first, second = request_count(upto=3), request_count(upto=5)
    assert finish(launcher, first).code == 0
    assert finish(launcher, second).code == 0
    assert worker_pid(store, first) == worker_pid(store, second) != os.getpid()
    manifest = store.manifest("count", second.key)
    cold = request_count(upto=5)
    store.objects.delete(f"artifacts/count/{second.key}/manifest.json")
    argv = [sys.executable, "-m", "components.execution.execute", cold.uri]
    assert subprocess.run(argv, check=False).returncode == 0
    again = store.manifest("count", cold.key)
    assert (again.attempt, again.digest) == (2, manifest.digest)
    assert "counting from 0" in (store.attempt("count", second.key, 1).log).read_text()


def test_a_dying_stage_takes_only_its_worker_along(launcher, request_count):
    died = finish(launcher, request_count(fail="kill"))
    assert (died.code, died.cause) == (137, "killed")
    assert finish(launcher, request_count(upto=7)).code == 0


def test_cancel_saves_the_resume_point_and_exits_143(store, launcher, request_count):
    request = request_count(upto=3000, seconds_each=0.01)
    handle = launcher.submit(request)
    attempt = store.attempt("count", request.key, 1)
    deadline = time.monotonic() + 30
    while not (attempt.record("progress") or {}).get("done") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert isinstance(launcher.status(handle), Running)
    launcher.cancel(handle)
    assert launcher.wait(handle, 20).code == 143
    assert (attempt.resume / "at.json").exists()
    assert list(launcher.logs(handle)) != []


def test_an_attempt_that_does_not_stop_is_ended_when_asked_again(store, request_count):
    launcher = LocalProcessLauncher(grace_seconds=0.5)
    request = request_count(upto=1, seconds_each=60)
    handle = launcher.submit(request)
    deadline = time.monotonic() + 30
    while store.attempt("count", request.key, 1).record("progress") is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    while not isinstance(status := launcher.wait(handle, 0.1), Ended):
        launcher.cancel(handle)
        assert time.monotonic() < deadline
    assert status.code == 137
    launcher.close()


def test_an_attempt_of_somebody_else_is_unknown(launcher, request_count):
    request = request_count(upto=20, seconds_each=0.05)
    assert launcher.find("count", request.key, 1) is None
    handle = launcher.submit(request)
    assert launcher.find("count", request.key, 1) == handle
    launcher.wait(handle, 60)
    assert launcher.find("count", request.key, 1) is None, "it is over"
    assert isinstance(LocalProcessLauncher().status(handle), Unknown)


def test_several_ranks_keep_the_exit_code_of_the_first_failure(launcher, request_count):
    two = Resources(processes=2)
    assert finish(launcher, request_count(resources=two, upto=2)).code == 0
    guard = finish(launcher, request_count(resources=two, upto=2, fail="guard"))
    assert (guard.code, guard.cause) == (4, "loss is not finite")


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_orchestrator_leaves_no_process_behind(store, request_count, processes):
    request = request_count(upto=3000, seconds_each=0.02, resources=Resources(processes=processes))
    script = (
        "import sys, time\n"
        "from components.execution.local_process import LocalProcessLauncher\n"
        "from components.execution.request import read_request\n"
        "LocalProcessLauncher().submit(read_request(sys.argv[1]))\n"
        "time.sleep(60)\n"
    )
    orchestrator = subprocess.Popen([sys.executable, "-c", script, request.uri])
    attempt = store.attempt("count", request.key, 1)
    deadline = time.monotonic() + 30
    while attempt.record("progress") is None and time.monotonic() < deadline:
        time.sleep(0.05)
    pid = attempt.record("progress")["pid"]
    orchestrator.send_signal(signal.SIGKILL)
    orchestrator.wait()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
