"""Processes are found by their token, across dead parents, and ended with their children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from flows.server_processes import (
    Server,
    end_marked,
    free_port,
    last_lines,
    marked,
    port_holder,
    start,
    started_at,
)

PARENT = (
    "import signal, subprocess, sys, time\n"
    "subprocess.Popen([sys.executable, '-c', 'import signal, time\\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)'],"
    " start_new_session=True)\n"
    "time.sleep(600)\n"
)


def server(code: str) -> Server:
    return Server("sample", ("-c", code), {"GREETING": "hello"}, healthy=lambda: True)


def wait_until(holds) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_grandchild_that_ignores_sigterm_is_ended_after_its_parent_died(tmp_path: Path):
    token = f"test-{os.getpid()}"
    log = tmp_path / "logs" / "sample.log"
    process = start(server(PARENT), token, log, tmp_path)
    wait_until(lambda: log.read_text() == "1\n")
    assert len(marked(token)) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (orphan,) = marked(token)
    end_marked(token, patience=0.3)
    assert marked(token) == []
    assert started_at(orphan) is None


def test_another_process_is_not_touched(tmp_path: Path):
    process = start(server("import time; time.sleep(600)"), "mine", tmp_path / "log", tmp_path)
    end_marked("other", patience=0.0)
    assert process.poll() is None
    end_marked("mine", patience=5.0)
    assert process.wait() is not None


def test_the_log_before_is_kept_and_the_environment_arrives(tmp_path: Path):
    log = tmp_path / "sample.log"
    code = "import os, components.settings; print(os.environ['GREETING'])"
    for _ in range(2):
        assert start(server(code), "t", log, tmp_path).wait() == 0
    assert log.read_text() == "hello\n"
    assert (tmp_path / "sample.log.1").read_text() == "hello\n"
    assert last_lines(log) == "hello"
    assert last_lines(tmp_path / "none.log") == ""


def test_a_process_id_alone_does_not_identify_a_process():
    first = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    mark = started_at(first.pid)
    assert mark is not None
    assert mark != started_at(os.getpid())
    first.kill()
    first.wait()
    assert started_at(first.pid) is None


def test_a_free_port_is_free():
    assert port_holder(free_port()) is None
