"""Processes as a test sees them from outside: which ones belong to a directory, and waiting."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def processes_of(*places: Path) -> dict[int, str]:
    """Return the arguments of every living process that was started for one of these directories,
    by its id.

    A command and its children carry a home in their environment. A sandbox has no environment of
    ours; it shows the directory it was given in its arguments, and its guest in its mounts.
    """
    whole = [os.fsencode(place) for place in places]
    # A mount names its source from the root of a file system, which may lie below `/`.
    ends = [os.fsencode(f"{place.parent.name}/{place.name}") for place in places]
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        state = _read(entry / "stat").rpartition(b")")[2].split()[:1]
        command = _read(entry / "cmdline")
        told, mounts = command + _read(entry / "environ"), _read(entry / "mountinfo")
        ours = any(mark in told for mark in whole) or any(mark in mounts for mark in ends)
        if ours and state != [b"Z"]:
            found[int(entry.name)] = command.replace(bytes(1), b" ").decode()[:200]
    return found


def _read(path: Path) -> bytes:
    """Return what a file of `/proc` says; nothing for a process that has gone or hides it."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def wait_until(condition: Callable[[], bool], seconds: float = 90.0, why: str = "") -> None:
    """Return once the condition holds; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain {why}".rstrip()
        time.sleep(0.1)
