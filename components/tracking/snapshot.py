"""What a shipper needs to know about a run: plain values, taken while the run goes or from its
record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

RunState = Literal["running", "done", "failed", "stopped"]
StepState = Literal["pending", "cached", "running", "done", "failed", "stopped", "skipped"]


@dataclass(frozen=True)
class StepSnapshot:
    """Hold how far one step of a run has come; times in UNIX seconds."""

    step: str
    stage: str
    state: StepState
    key: str | None
    attempt: int | None = None
    reason: str = ""
    started: float | None = None
    ended: float | None = None
    cause: str | None = None


@dataclass(frozen=True)
class RunSnapshot:
    """Hold one run and its steps in the order of the recipe; times in UNIX seconds."""

    id: str
    recipe: str
    state: RunState
    created: float
    ended: float | None
    resolved: dict[str, Any]
    steps: tuple[StepSnapshot, ...]
    commit: str = ""
    links: dict[str, str] = field(default_factory=dict[str, str])
    """Pages that show the run, by name."""
