"""A run is believed to go on only while its process lives, and pauses are not its time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from components.catalog.liveness import INTERRUPTED, present_state, process_lives, worked_seconds
from components.catalog.queries import Step

HERE = socket.gethostname()


def step(state: str, started: float | None, ended: float | None) -> Step:
    return Step("r", "x", 0, "x", None, state, None, started, ended, None, None, None)


def test_a_process_that_is_gone_is_an_interruption() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert present_state("running", HERE, gone.pid) == INTERRUPTED
    assert present_state("running", HERE, None) == INTERRUPTED
    assert present_state("running", HERE, os.getpid()) == "running"
    assert present_state("running", HERE, 1) == "running"  # someone else's, but alive


def test_other_states_and_other_hosts_are_believed() -> None:
    assert present_state("done", HERE, None) == "done"
    assert present_state("running", "elsewhere", None) == "running"


def test_pauses_are_not_worked_time() -> None:
    steps = [
        step("done", 10.0, 70.0),
        step("cached", 5000.0, 5001.0),
        step("running", 9000.0, None),
    ]
    assert worked_seconds("running", 60.0, 0.0, steps, now=9030.0) == 90.0
    assert worked_seconds("running", None, 100.0, [], now=130.0) == 30.0
    assert worked_seconds("done", 90.0, 0.0, steps, now=9999.0) == 90.0
    assert worked_seconds("interrupted", None, 0.0, steps, now=9999.0) is None


def test_a_process_that_only_waits_to_be_taken_note_of_is_gone():
    process = subprocess.Popen([sys.executable, "-c", ""])
    while Path(f"/proc/{process.pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z":
        time.sleep(0.01)
    assert process_lives(socket.gethostname(), process.pid) is False
    process.wait()
    assert process_lives(socket.gethostname(), process.pid) is False
    assert process_lives(socket.gethostname(), os.getpid()) is True
    assert process_lives("elsewhere", process.pid) is None
