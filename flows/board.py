"""What a watcher sees of a running pipeline: state, progress and loss of each step, in memory."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class StepView:
    """Hold what is shown of one step; times are UNIX seconds."""

    name: str
    state: str = "pending"
    started: float | None = None
    ended: float | None = None
    done: float = 0.0
    total: float = 0.0
    unit: str = ""
    loss: float | None = None
    waiting: str = ""
    """What keeps the step from starting, in words."""
    first_done: float | None = None
    """Progress when it was first seen: a resumed step does not start at 0."""
    first_seen: float = 0.0

    @property
    def seconds(self) -> float | None:
        """Time since the step was started; None before."""
        if self.started is None:
            return None
        return (self.ended or time.time()) - self.started

    @property
    def eta(self) -> float | None:
        """Seconds the step still needs at its present rate; None while that is unknown."""
        if self.state != "running" or self.first_done is None or self.total <= 0:
            return None
        advanced, took = self.done - self.first_done, time.time() - self.first_seen
        if advanced <= 0 or took < 1:
            return None
        return (self.total - self.done) * took / advanced


@dataclass
class Board:
    """Hold the steps of one run for display; safe to use from several threads."""

    steps: dict[str, StepView]
    messages: list[str] = field(default_factory=list[str])
    echo: bool = True
    """Print messages to standard error as they come."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def started(self, step: str) -> None:
        """Say that a step computes from now on."""
        with self._lock:
            self.steps[step] = StepView(step, "running", started=time.time())

    def progress(self, step: str, heartbeat: Mapping[str, Any], loss: float | None) -> None:
        """Take the newest heartbeat of a step."""
        with self._lock:
            view = self.steps[step]
            view.done = float(heartbeat.get("done", 0))
            view.total = float(heartbeat.get("total", 0))
            view.unit = str(heartbeat.get("unit", ""))
            view.loss = loss if loss is not None else view.loss
            if view.first_done is None and view.total > 0:
                view.first_done, view.first_seen = view.done, time.time()

    def waiting(self, step: str, cause: str) -> None:
        """Take what keeps a step from starting, and tell it once."""
        with self._lock:
            known, self.steps[step].waiting = self.steps[step].waiting, cause
        if cause != known:
            self.say(step, cause)

    def ended(self, step: str, state: str) -> None:
        """Say how a step ended: done, cached, failed or stopped."""
        with self._lock:
            view = self.steps.setdefault(step, StepView(step))
            view.state, view.ended = state, time.time()

    def say(self, step: str, message: str) -> None:
        """Tell the watcher something in one line."""
        with self._lock:
            self.messages.append(f"{step}: {message}")
        if self.echo:
            print(f"{step}: {message}", file=sys.stderr, flush=True)
