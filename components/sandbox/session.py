"""What the tiers have in common: one driver process behind a pipe, that runs commands on request.

A tier says how the driver is started behind its walls. Run by root, it becomes an unprivileged user
first: root inside a user namespace still owns root's files, and the kernel does not count root's
processes against a limit. The files are then copied to where that user can read them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.contract import EnvironmentMissing
from components.sandbox.interface import Completed, Limits

NOBODY = 65534
GRACE_SECONDS = 10.0
"""How much longer than the wall limit the host waits for the driver's answer."""
LARGEST_ANSWER = 1 << 26
DRIVER = Path(__file__).with_name("driver.py")
FILES = "work"
"""Name of the copied files in the session's directory."""
_STAGED = "strata-files-"
_PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3")
_LOST = Completed("", "", 255, infrastructure=True)


class SessionLost(Exception):
    """Report that the session ended or did not answer in time."""


class Session:
    """Hold one session; it is opened again, empty, when it is lost."""

    end_seconds = 0.0
    """How long a driver whose host has gone may take to end what it started."""

    def __init__(self, files: Path, limits: Limits, *, copied: bool) -> None:
        self.limits = limits
        self._python = _python_or_missing()
        if not files.is_dir():
            raise EnvironmentMissing(f"the sandbox's files are missing: {files} is no directory")
        self._staged, self._claim = _stage(files) if copied else (None, None)
        self._files = self._staged / FILES if self._staged else files.resolve()
        self._process: subprocess.Popen[bytes] | None = None
        self._number = 0
        self._used = False

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
            self._kill()
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
            self._kill()

    def close(self) -> None:
        """End the session and remove the copy of the files."""
        self._kill()
        if self._staged is not None:
            remove(self._staged)
            self._staged = None
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def _kill(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(self.end_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _open(self) -> subprocess.Popen[bytes]:
        """Start the driver behind its walls."""
        raise NotImplementedError

    def _start(
        self, arguments: Sequence[str], refused: str, passed: Sequence[int] = ()
    ) -> subprocess.Popen[bytes]:
        """Start the driver as an unprivileged user and wait for its first answer.

        Raises EnvironmentMissing with what it said where it does not start; `refused` says how
        that is mended.
        """
        user = NOBODY if os.geteuid() == 0 else None
        errors = tempfile.TemporaryFile()  # noqa: SIM115 closed below, after the first answer
        try:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                pass_fds=passed,
                env={},
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
            self._process = process
            self._exchange(process, {"op": "reset"}, GRACE_SECONDS)
        except (OSError, SessionLost) as problem:
            self._kill()
            errors.seek(0)
            said = errors.read(2000).decode(errors="replace").strip()
            raise EnvironmentMissing(f"{refused}: {said or problem}") from problem
        finally:
            errors.close()
        return process

    def _ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        process = self._process
        if process is None or process.poll() is not None:
            self._kill()
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


def remove(path: Path) -> None:
    """Remove a directory whatever a command left in it: any depth, any mode."""
    subprocess.run(["/bin/chmod", "-R", "u+rwX", path], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["/bin/rm", "-rf", path], check=False, stderr=subprocess.DEVNULL)


def _stage(files: Path) -> tuple[Path, int]:
    """Make a directory for a session with a copy of the files, which an unprivileged user can read;
    return it and a descriptor that claims it.

    The claim is a lock, which goes when its process does. So directories that killed processes left
    are known by having none, and are removed here.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_STAGED}*"):
        with contextlib.suppress(OSError):
            os.close(_claim(left))
            remove(left)
    made = Path(tempfile.mkdtemp(prefix=f".{_STAGED}"))
    claim = _claim(made)
    staged = made.rename(made.with_name(made.name.removeprefix(".")))
    copies = staged / FILES
    copies.mkdir()
    for path in sorted(files.iterdir()):
        if path.is_file():
            shutil.copyfile(path, copies / path.name)
            (copies / path.name).chmod(0o644)
    for directory in (staged, copies):
        directory.chmod(0o755)
    return staged, claim


def _claim(directory: Path) -> int:
    """Lock a directory and return the descriptor that holds it; BlockingIOError where it is held
    already.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
