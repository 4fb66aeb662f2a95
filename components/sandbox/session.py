"""What the tiers share: a process with a driver in it, asked through pipes, opened again when lost.

A tier says how the driver's process is started, and how to try its walls.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import struct
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, Any, ClassVar

from components.contract import EnvironmentMissing
from components.sandbox.interface import Completed, Limits

NOBODY = 65534
"""The user a session of root's becomes."""
GRACE_SECONDS = 10.0
"""How much longer than the wall limit the host waits for the driver's answer."""
LARGEST_ANSWER = 1 << 26
_PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3")
_LOST = Completed("", "", 255, infrastructure=True)


class SessionLost(Exception):
    """Report that the session ended or did not answer in time."""


class Session(ABC):
    """Hold one session; it is opened again, empty, when it is lost."""

    tier: ClassVar[str]
    needs: ClassVar[str]
    """What to do where it cannot be opened."""
    probe: ClassVar[str]
    """A script that names the walls it could cross, then says `proven`; see `selftest`."""
    tools: str
    """Directory in the session where `TEXT_TOOLS` are, and nothing else."""
    farewell: ClassVar[float] = 0.0
    """Seconds in which it ends its processes itself when it is told to."""

    def __init__(self, files: Path, limits: Limits) -> None:
        self.limits = limits
        self.path = "/usr/bin:/bin"
        """Where commands find programs by name."""
        self._python = _python_or_missing()
        if not files.is_dir():
            raise EnvironmentMissing(f"the sandbox's files are missing: {files} is no directory")
        self._process: subprocess.Popen[bytes] | None = None
        self._number = 0
        self._used = False

    @abstractmethod
    def _start(self, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start the driver with pipes, its messages going to `errors`; OSError where that fails."""

    def run(self, command: str, *, cpu_seconds: float = 2.0) -> Completed:
        """Run a bash command; a lost session answers `infrastructure` and the next call opens
        another.
        """
        if "\0" in command:
            return Completed("", "error: the command holds a null character", 2)
        self._used = True
        request = {
            "op": "run",
            "command": command.encode("utf-8", "replace").decode(),
            "path": self.path,
            "cpu": cpu_seconds,
            "wall": self.limits.wall_seconds,
            "memory": self.limits.memory_bytes,
            "processes": self.limits.processes,
            "file": self.limits.file_bytes,
            "scratch": self.limits.scratch_bytes,
            "output": self.limits.output_bytes,
        }
        try:
            answer = self._ask(request, self.limits.wall_seconds + GRACE_SECONDS)
        except SessionLost:
            self._end()
            return _LOST
        return Completed(
            answer["stdout"],
            answer["stderr"],
            answer["code"],
            timed_out_cpu=answer["cpu"],
            infrastructure=answer["wall"],
            truncated=answer["truncated"],
        )

    def reset(self) -> None:
        """Empty the scratch directory; a session that cannot is thrown away."""
        if not self._used:
            return
        self._used = False
        try:
            clean = self._ask({"op": "reset"}, GRACE_SECONDS)["clean"]
        except SessionLost:
            clean = False
        if not clean:
            self._end()

    def close(self) -> None:
        """End the session and remove what it lies in."""
        self._end()

    def _end(self) -> None:
        """End the process: by asking, where what it started would survive it, then by force."""
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        if self.farewell:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self.farewell)
        process.kill()
        process.wait()
        process.stdout.close()

    def _open(self) -> subprocess.Popen[bytes]:
        """Start the driver; raises `EnvironmentMissing` with its words if it does not answer."""
        with tempfile.TemporaryFile() as errors:
            try:
                self._process = process = self._start(errors)
                self._exchange(process, {"op": "reset"}, GRACE_SECONDS)
            except (OSError, SessionLost) as problem:
                self._end()
                errors.seek(0)
                said = errors.read(2000).decode(errors="replace").strip()
                raise EnvironmentMissing(
                    f"{self.tier} could not open a sandbox: {said or problem}. {self.needs}"
                ) from problem
        return process

    def _ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        process = self._process
        if process is None or process.poll() is not None:
            self._end()
            process = self._open()
        return self._exchange(process, request, seconds)

    def _exchange(
        self, process: subprocess.Popen[bytes], request: dict[str, Any], seconds: float
    ) -> dict[str, Any]:
        """Send a request and read its answer; raises `SessionLost` after `seconds` or at the end
        of the pipe.
        """
        self._number += 1
        body = json.dumps({"id": self._number, **request}).encode()
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = time.monotonic() + seconds
        try:
            process.stdin.write(struct.pack(">I", len(body)) + body)
            (size,) = struct.unpack(">I", _read(process.stdout.fileno(), 4, deadline))
            if size > LARGEST_ANSWER:
                raise SessionLost("the answer is too long")
            answer = json.loads(_read(process.stdout.fileno(), size, deadline))
        except (OSError, ValueError) as problem:
            raise SessionLost(str(problem)) from problem
        if answer.get("id") != self._number:
            raise SessionLost("the answer belongs to another request")
        return answer


def _read(number: int, size: int, deadline: float) -> bytes:
    data = b""
    while len(data) < size:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([number], [], [], left)[0]:
            raise SessionLost("no answer in time")
        chunk = os.read(number, size - len(data))
        if not chunk:
            raise SessionLost("the session ended")
        data += chunk
    return data


def _python_or_missing() -> str:
    """Return a Python that the sandbox shows; one of a virtual environment lies outside `/usr`."""
    for python in _PYTHONS:
        if Path(python).exists():
            return python
    raise EnvironmentMissing(
        "the sandbox needs a Python under /usr for its driver: `apt-get install python3`"
    )
