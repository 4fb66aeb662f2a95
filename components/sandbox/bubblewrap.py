"""A sandbox session made with bubblewrap: new namespaces, no capabilities, a read-only system, a
bounded `/tmp`.

Run by root, the session drops to an unprivileged user first: root inside a user namespace still
owns root's files, and the kernel does not count root's processes against a limit. The files are
then copied to where that user can read them.
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
from pathlib import Path
from typing import Any

from components.contract import EnvironmentMissing
from components.sandbox.interface import Completed, Limits
from components.sandbox.seccomp import filter_program

NOBODY = 65534
GRACE_SECONDS = 10.0
"""How much longer than the wall limit the host waits for the driver's answer."""
LARGEST_ANSWER = 1 << 26
_STAGED = "strata-files-"
_DRIVER = Path(__file__).with_name("driver.py")
_PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3")
_LOST = Completed("", "", 255, infrastructure=True)


class SessionLost(Exception):
    """Report that the session ended or did not answer in time."""


class BubblewrapSandbox:
    """Hold one session; it is opened again, empty, when it is lost."""

    def __init__(self, files: Path, limits: Limits) -> None:
        self.limits = limits
        self._program = _program_or_missing()
        self._python = _python_or_missing()
        if not files.is_dir():
            raise EnvironmentMissing(f"the sandbox's files are missing: {files} is no directory")
        self._staged, self._claim = _stage(files) if os.geteuid() == 0 else (None, None)
        self._files = self._staged or files.resolve()
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
            shutil.rmtree(self._staged, ignore_errors=True)
            self._staged = None
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def _kill(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _open(self) -> subprocess.Popen[bytes]:
        """Start bubblewrap with the driver as first process; raises `EnvironmentMissing` if it
        refuses.
        """
        driver = [self._python, "-I", "-S", "-B", "-c", _DRIVER.read_text(encoding="utf-8")]
        user = None if self._staged is None else NOBODY
        errors = tempfile.TemporaryFile()  # noqa: SIM115 closed below, after the first answer
        filter_fd = _filter_fd()
        passed = () if filter_fd is None else (filter_fd,)
        arguments = [self._program, *self._walls(), *_filter_arguments(filter_fd), *driver]
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
            raise EnvironmentMissing(
                f"bubblewrap could not open a sandbox: {said or problem}. It needs user "
                "namespaces: `sysctl kernel.unprivileged_userns_clone=1`, or a container profile "
                "that allows them"
            ) from problem
        finally:
            errors.close()
            for number in passed:
                os.close(number)
        return process

    def _walls(self) -> list[str]:
        """Return bubblewrap's arguments: what is shared, what is shown, what may be written."""
        shown = [
            "--ro-bind",
            "/usr",
            "/usr",
            "--ro-bind-try",
            "/etc/ld.so.cache",
            "/etc/ld.so.cache",
        ]
        shown += ["--ro-bind-try", "/etc/alternatives", "/etc/alternatives"]
        for name in ("bin", "sbin", "lib", "lib64"):
            if Path(f"/{name}").is_symlink():
                shown += ["--symlink", f"usr/{name}", f"/{name}"]
            elif Path(f"/{name}").is_dir():
                shown += ["--ro-bind", f"/{name}", f"/{name}"]
        return [
            *("--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent"),
            *("--new-session", "--clearenv", "--cap-drop", "ALL", "--as-pid-1"),
            *("--uid", "1000", "--gid", "1000", "--hostname", "sandbox"),
            *shown,
            *("--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"),
            *("--size", str(self.limits.scratch_bytes), "--tmpfs", "/tmp"),
            *("--ro-bind", str(self._files), "/work", "--remount-ro", "/"),
            *("--setenv", "PATH", "/usr/bin:/bin", "--chdir", "/work"),
        ]

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


def _program_or_missing() -> str:
    program = shutil.which("bwrap")
    if program is None:
        raise EnvironmentMissing(
            "commands need a sandbox and `bwrap` is not installed: `apt-get install bubblewrap`"
        )
    return program


def _python_or_missing() -> str:
    """Return a Python that the sandbox shows; one of a virtual environment lies outside `/usr`."""
    for python in _PYTHONS:
        if Path(python).exists():
            return python
    raise EnvironmentMissing(
        "the sandbox needs a Python under /usr for its driver: `apt-get install python3`"
    )


def _stage(files: Path) -> tuple[Path, int]:
    """Copy the files to a directory that an unprivileged user can read; return it and a descriptor
    that claims it.

    The claim is a lock, which goes when its process does. So copies that killed processes left are
    known by having none, and are removed here.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_STAGED}*"):
        with contextlib.suppress(OSError):
            os.close(_claim(left))
            shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f".{_STAGED}"))
    claim = _claim(made)
    staged = made.rename(made.with_name(made.name.removeprefix(".")))
    staged.chmod(0o755)
    for path in sorted(files.iterdir()):
        if path.is_file():
            shutil.copyfile(path, staged / path.name)
            (staged / path.name).chmod(0o644)
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


def _filter_fd() -> int | None:
    """Return a readable descriptor of the system-call filter, or None on a machine we have none
    for.
    """
    program = filter_program(os.uname().machine)
    if program is None:
        return None
    number = os.memfd_create("seccomp")
    os.write(number, program)
    os.lseek(number, 0, os.SEEK_SET)
    return number


def _filter_arguments(filter_fd: int | None) -> tuple[str, ...]:
    return () if filter_fd is None else ("--seccomp", str(filter_fd))
