"""How a run is at this moment: whether its process lives, and how long it has worked.

A process that dies without a word cannot write that down, so a row that says `running` is believed
only while its process lives. Another host's processes cannot be seen from here; its word is taken.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path

from components.catalog.queries import Step

INTERRUPTED = "interrupted"
"""State of a run, step or attempt whose process is gone; the same command continues it."""


def present_state(state: str, host: str | None, pid: int | None) -> str:
    """Return the state of a run or an attempt, or `interrupted` where its process died."""
    gone = process_lives(host, pid) is False
    return INTERRUPTED if state == "running" and gone else state


def process_lives(host: str | None, pid: int | None) -> bool | None:
    """Return whether a process lives; None for one of another host, which cannot be seen."""
    if host != socket.gethostname():
        return None
    return pid is not None and _alive(pid)


def worked_seconds(
    state: str, seconds: float | None, created: float, steps: Iterable[Step], now: float
) -> float | None:
    """Return how long orchestrators have worked on a run; pauses between them do not count.

    `seconds` is what was written down when a step of the run changed last.
    """
    if state != "running":
        return seconds
    moments = [t for s in steps if s.state != "cached" for t in (s.started, s.ended) if t]
    return (seconds or 0.0) + max(0.0, now - max(moments, default=created))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Return whether a process has ended and only waits to be taken note of by its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[:1] == [b"Z"]
    except OSError:  # no such file system, or the process has gone meanwhile
        return False
