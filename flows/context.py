"""What the steps of one run share: store, launcher, register, board and the wish to stop."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field

from components.artifacts.store import ArtifactStore
from components.contract import Resources
from components.execution.launch import Launcher
from components.settings import Settings
from flows.board import Board
from flows.plan import Plan
from flows.register import Register


@dataclass
class Run:
    """Hold one run while it goes."""

    settings: Settings
    store: ArtifactStore
    launcher: Launcher
    register: Register
    board: Board
    plan: Plan
    resources: dict[str, Resources]
    """Resources by step."""
    table: str
    """`module:mapping` of the stages by name, for the process that carries a step out."""
    wanted: frozenset[str]
    """Steps to make; the pipeline's other lines are passed over."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when the run is to end early: steps save a resume point, and no other step starts."""
    stopped_by: int = 0
    """Number of the signal that asked for the stop."""
    slots: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(1))
    """Taken while a step computes."""
    executed: list[str] = field(default_factory=list[str])
    """Steps that were really computed, in the order they ended."""
    failures: list[Exception] = field(default_factory=list[Exception])
    """What ended steps early, in the order it happened; no step starts after the first."""
    key_locks: dict[str, threading.Lock] = field(
        default_factory=lambda: defaultdict(threading.Lock)
    )

    @property
    def id(self) -> str:
        """Id of the run."""
        return self.register.run.id
