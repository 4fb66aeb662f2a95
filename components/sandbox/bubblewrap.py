"""A sandbox session made with bubblewrap: new namespaces, no capabilities, a read-only system, a
bounded `/tmp`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from components.contract import EnvironmentMissing
from components.sandbox.interface import Limits
from components.sandbox.seccomp import filter_program
from components.sandbox.session import DRIVER, Session


class BubblewrapSandbox(Session):
    """Hold one session; it is opened again, empty, when it is lost."""

    def __init__(self, files: Path, limits: Limits) -> None:
        self._program = _program_or_missing()
        super().__init__(files, limits, copied=os.geteuid() == 0)

    def _open(self) -> subprocess.Popen[bytes]:
        """Start bubblewrap with the driver as first process."""
        driver = [self._python, "-I", "-S", "-B", "-c", DRIVER.read_text(encoding="utf-8")]
        filter_fd = _filter_fd()
        passed = () if filter_fd is None else (filter_fd,)
        arguments = [self._program, *self._walls(), *_filter_arguments(filter_fd), *driver]
        try:
            return self._start(
                arguments,
                "bubblewrap could not open a sandbox; it needs user namespaces (`sysctl "
                "kernel.unprivileged_userns_clone=1`, or a container profile that allows them)",
                passed,
            )
        finally:
            for number in passed:
                os.close(number)

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


def _program_or_missing() -> str:
    program = shutil.which("bwrap")
    if program is None:
        raise EnvironmentMissing(
            "commands need a sandbox and `bwrap` is not installed: `apt-get install bubblewrap`"
        )
    return program


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
