"""The sign of life of an orchestrator, and the wish that its run ends.

    runs/<id>/pulse.json    written anew every few seconds: when, where, and how steps are started
    runs/<id>/cancel        there once somebody wants the run to end

A process on another machine cannot be asked whether it lives, and not every one can be sent a
signal; both can be done through the store that all of them share.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from components.artifacts.store import ArtifactStore
from components.execution.repeat import repeated
from flows.context import Run

BEAT_SECONDS = 3.0


@dataclass(frozen=True)
class Pulse:
    """Hold an orchestrator's newest sign of life."""

    time: float
    host: str
    pid: int
    launcher: str


def read_pulse(store: ArtifactStore, run_id: str) -> Pulse | None:
    """Return the newest sign of life of a run's orchestrator; None where there is none."""
    data = store.objects.read(_pulse(run_id))
    try:
        return Pulse(**json.loads(data)) if data else None
    except (ValueError, TypeError):
        return None


def ask_to_stop(store: ArtifactStore, run_id: str) -> None:
    """Say that a run is to end; its orchestrator, or else the reconciler, sees to it."""
    store.objects.write(_wish(run_id), str(time.time()).encode())


def is_to_stop(store: ArtifactStore, run_id: str) -> bool:
    """Return whether somebody wants a run to end that has not been continued since."""
    return store.objects.read(_wish(run_id)) is not None


@contextmanager
def pulse(run: Run) -> Generator[None]:
    """Give signs of life while the body lasts, and let the run stop when it is to."""
    run.store.objects.delete(_wish(run.id))  # an earlier one: the run was continued since
    _beat(run)

    def beat() -> None:
        _beat(run)
        if is_to_stop(run.store, run.id) and not run.stop.is_set():
            run.stop.set()
            run.board.say("stopping", "the run was cancelled; steps save resume points")

    with repeated(beat, BEAT_SECONDS, "pulse"):
        yield


def _beat(run: Run) -> None:
    sign = Pulse(time.time(), socket.gethostname(), os.getpid(), run.settings.launcher)
    run.store.objects.write(_pulse(run.id), json.dumps(asdict(sign)).encode())


def _pulse(run_id: str) -> str:
    return f"runs/{run_id}/pulse.json"


def _wish(run_id: str) -> str:
    return f"runs/{run_id}/cancel"
