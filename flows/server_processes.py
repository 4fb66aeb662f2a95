"""Start server processes that outlive their starter, find them again, and end them.

Every process carries a token in its environment, which its children inherit. So what belongs to an
installation is found by that token alone: it survives the death of a parent, and a process id that
was reused never matches. Linux only (`/proc`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flows
from components.settings import child_environment

MARK = "_STRATA_SERVER_OF"
"""Environment variable that carries the token."""


@dataclass(frozen=True)
class Server:
    """Describe one server: how it is started, and how it shows that it is well."""

    name: str
    arguments: tuple[str, ...]
    """Arguments of the Python interpreter."""
    environment: Mapping[str, str]
    healthy: Callable[[], bool]
    port: int | None = None
    setting: str = ""
    """Variable that moves the port."""
    after: str = ""
    """Server that must be healthy first."""


def python_environment(**extra: str) -> dict[str, str]:
    """Return the environment of a child interpreter that finds our packages wherever it starts."""
    root = str(Path(flows.__path__[0]).parent)
    inherited = child_environment(**extra)
    path = os.pathsep.join(filter(None, (root, inherited.get("PYTHONPATH"))))
    return {**inherited, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def start(server: Server, token: str, log: Path, directory: Path) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own; it writes to `log`, the one before is kept as
    `*.1`.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, *server.arguments],
            env=python_environment(**{MARK: token}, **server.environment),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def marked(token: str) -> list[int]:
    """Return the processes that carry the token, this process left out."""
    wanted = f"{MARK}={token}".encode()
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0") and _runs(entry):
                found.append(int(entry.name))
    return sorted(found)


def started_at(pid: int) -> str | None:
    """Return what distinguishes a process from a later one with its id; None for a dead one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def end_marked(token: str, patience: float) -> None:
    """End every process that carries the token: politely first, by force after `patience`
    seconds.
    """
    _signal(marked(token), signal.SIGTERM)
    deadline = time.monotonic() + patience
    while (left := marked(token)) and time.monotonic() < deadline:
        _reap(left)
        time.sleep(0.1)
    while left := marked(token):
        _signal(left, signal.SIGKILL)
        _reap(left)
        time.sleep(0.05)


def port_holder(port: int) -> str | None:
    """Say who listens on a loopback port, in words; None where it is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return _holder_by_name(port) or str(error)
    return None


def free_port() -> int:
    """Return a loopback port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def last_lines(log: Path, count: int = 3) -> str:
    """Return the last lines of a log that say something, joined by ` | `."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return " | ".join([line.strip() for line in lines if line.strip()][-count:])


def _holder_by_name(port: int) -> str | None:
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            address: Any = connection.laddr
            listens = connection.status == psutil.CONN_LISTEN and address.port == port
            if listens and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return None


def _runs(entry: Path) -> bool:
    return started_at(int(entry.name)) is not None


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _reap(pids: list[int]) -> None:
    """Take the exit codes of those that are children of this process, lest they stay zombies."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
