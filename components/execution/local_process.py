"""The launcher of a laptop: attempts are child processes, and consecutive ones share a warm
worker.

A run has some twenty executions and importing torch costs 5 to 9 seconds. Steps of one process go
to a worker that is idle; a step with several ranks gets a process of its own. Children live in
their own session, so that Ctrl-C reaches the orchestrator alone, and end by themselves when it
dies.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from components.execution.launch import Ended, Handle, Running, Status, Unknown, cause
from components.execution.request import StageRequest, attempt_at
from components.execution.worker import STALE

GRACE_SECONDS = 20.0
"""Time an attempt has to save its resume point."""


@dataclass
class _Attempt:
    request: StageRequest
    process: subprocess.Popen[str]
    code: int | None = None
    cancelled: float | None = None
    """Monotonic time of the first wish to stop."""
    over: threading.Event = field(default_factory=threading.Event)


class LocalProcessLauncher:
    """Start attempts as child processes of this one."""

    def __init__(self, grace_seconds: float = GRACE_SECONDS) -> None:
        self._grace_seconds = grace_seconds
        self._idle: list[subprocess.Popen[str]] = []
        self._attempts: dict[Handle, _Attempt] = {}
        self._lock = threading.Lock()

    def submit(self, request: StageRequest) -> Handle:
        handle = Handle(request.stage, request.key, request.attempt)
        single = request.resources.processes * request.resources.nodes == 1
        process = self._worker() if single else self._cold(request)
        attempt = _Attempt(request, process)
        with self._lock:
            self._attempts[handle] = attempt
        wait = self._wait_warm if single else self._wait_cold
        threading.Thread(target=wait, args=(attempt,), daemon=True).start()
        return handle

    def find(self, stage: str, key: str, attempt: int) -> Handle | None:
        handle = Handle(stage, key, attempt)
        known = self._attempts.get(handle)
        return handle if known is not None and not known.over.is_set() else None

    def status(self, handle: Handle) -> Status:
        attempt = self._attempts.get(handle)
        if attempt is None:
            return Unknown()
        if not attempt.over.is_set() or attempt.code is None:
            return Running()
        return Ended(attempt.code, cause(attempt_at(attempt.request.uri), attempt.code))

    def wait(self, handle: Handle, timeout: float) -> Status:
        """Return the status, after `timeout` seconds or as soon as the attempt is over."""
        attempt = self._attempts.get(handle)
        if attempt is not None:
            attempt.over.wait(timeout)
        return self.status(handle)

    def cancel(self, handle: Handle) -> None:
        attempt = self._attempts.get(handle)
        if attempt is None or attempt.over.is_set():
            return
        attempt.cancelled = attempt.cancelled or time.monotonic()
        patient = time.monotonic() - attempt.cancelled < self._grace_seconds
        attempt.process.send_signal(signal.SIGTERM if patient else signal.SIGKILL)

    def logs(self, handle: Handle) -> Iterator[str]:
        attempt = self._attempts.get(handle)
        log = attempt_at(attempt.request.uri).log if attempt else None
        if log is not None and log.exists():
            yield from log.read_text(encoding="utf-8", errors="replace").splitlines()

    def close(self) -> None:
        running = [a for a in self._attempts.values() if not a.over.is_set()]
        for handle in list(self._attempts):
            self.cancel(handle)
        for attempt in running:
            if not attempt.over.wait(self._grace_seconds):
                attempt.process.kill()
                attempt.over.wait(self._grace_seconds)
        for worker in self._idle:
            _close(worker.stdin)
            worker.wait(GRACE_SECONDS)
        self._idle.clear()

    def _worker(self) -> subprocess.Popen[str]:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.poll() is None:
                    return worker
        return _start(["components.execution.worker"], subprocess.PIPE)

    def _cold(self, request: StageRequest) -> subprocess.Popen[str]:
        with attempt_at(request.uri).log.open("a") as log:
            arguments = ["components.execution.execute", request.uri, "--end-with-parent"]
            return _start(arguments, log)

    def _wait_warm(self, attempt: _Attempt) -> None:
        code = _ask(attempt.process, attempt.request.uri)
        if code == STALE:
            attempt.process.wait()
            attempt.process = _start(["components.execution.worker"], subprocess.PIPE)
            code = _ask(attempt.process, attempt.request.uri)
        if code is None:
            code = _exit_code(attempt.process.wait())
        else:
            with self._lock:
                self._idle.append(attempt.process)
        attempt.code = code
        attempt.over.set()

    def _wait_cold(self, attempt: _Attempt) -> None:
        attempt.code = _exit_code(attempt.process.wait())
        attempt.over.set()


def _start(arguments: list[str], output: int | IO[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        # -P: a folder `components` where the command was called is not ours.
        [sys.executable, "-P", "-m", *arguments],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=None if output == subprocess.PIPE else subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )


def _ask(worker: subprocess.Popen[str], uri: str) -> int | None:
    """Send a request and return the answer; None when the worker died instead."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.write(json.dumps(uri) + "\n")
        worker.stdin.flush()
    except BrokenPipeError:
        return None
    answer = worker.stdout.readline()
    return int(answer) if answer else None


def _exit_code(code: int) -> int:
    return 128 - code if code < 0 else code


def _close(stream: IO[str] | None) -> None:
    if stream is not None:
        stream.close()
