"""A sandbox session made with bubblewrap: new namespaces, no capabilities, a read-only system, a
bounded `/tmp`.

Run by root, the session drops to an unprivileged user first: root inside a user namespace still
owns root's files, and the kernel does not count root's processes against a limit. The files are
copies, which that user can read and which have one date.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import IO

from components.contract import EnvironmentMissing
from components.sandbox.interface import TEXT_TOOLS, Limits
from components.sandbox.seccomp import filter_program
from components.sandbox.session import NOBODY, Session
from components.sandbox.staging import Staged

_DRIVER = Path(__file__).with_name("driver.py")


class BubblewrapSandbox(Session):
    """Hold one session in namespaces of its own."""

    tier = "bubblewrap"
    tools = "/tools"
    needs = (
        "It needs user namespaces (`sysctl kernel.unprivileged_userns_clone=1`, or a container "
        "profile that allows them), seccomp and bubblewrap 0.8 or newer. Where namespaces stay "
        "forbidden, set sandbox_tier to 'landlock'"
    )
    probe = """
[ -e {outside}/secret ] && echo host-file-visible
[ -r /etc/shadow ] && echo shadow-readable
(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && echo network-reachable
unshare --user true 2>/dev/null && echo user-namespace-allowed
(: > .probe) 2>/dev/null && echo files-writable
(: > /usr/.probe) 2>/dev/null && echo system-writable
ls /proc/1/fd >/dev/null 2>&1 && echo driver-visible
grep -q '^CapEff:[[:space:]]*0*$' /proc/self/status || echo capabilities-held
grep -q '^Seccomp:[[:space:]]*2$' /proc/self/status || echo no-system-call-filter
echo proven
"""

    def __init__(self, files: Path, limits: Limits) -> None:
        self._program = _program_or_missing()
        super().__init__(files, limits)
        self._staged = Staged(files)

    def close(self) -> None:
        """End the session and remove the copy of the files."""
        super().close()
        self._staged.remove()

    def _start(self, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        driver = [self._python, "-I", "-S", "-B", "-c", _DRIVER.read_text(encoding="utf-8")]
        user = NOBODY if os.geteuid() == 0 else None
        filter_fd = _filter_fd()
        passed = () if filter_fd is None else (filter_fd,)
        try:
            return subprocess.Popen(
                [self._program, *self._walls(), *_filter_arguments(filter_fd), *driver],
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
        finally:
            for number in passed:
                os.close(number)

    def _walls(self) -> list[str]:
        """Return bubblewrap's arguments: what is shared, what is shown, what may be written."""
        shown = ["--ro-bind", "/usr", "/usr"]
        for name in ("/etc/ld.so.cache", "/etc/alternatives"):
            shown += ["--ro-bind-try", name, name]
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
            *(word for name in TEXT_TOOLS for word in _link(name, self.tools)),
            *("--ro-bind", str(self._staged.files), "/work", "--remount-ro", "/"),
            *("--setenv", "PATH", "/usr/bin:/bin", "--chdir", "/work"),
        ]


def _link(name: str, directory: str) -> tuple[str, str, str]:
    return ("--symlink", f"/usr/bin/{name}", f"{directory}/{name}")


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
