"""Decide after each gradient whether its update is made, left out, or training goes back.

A loss or gradient that is not finite, or a loss far above its recent course, is left out. A row of
such steps means that the weights themselves are bad: training goes back to the last anchor and on
with the next data. Decisions rest on values summed over all ranks, so all ranks decide alike. The
window holds finite, accepted losses only (a single NaN in it would switch the guard off) and is
saved with the resume point (otherwise each resume would leave its first steps unguarded).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["apply", "skip", "rollback", "stop"]


@dataclass(frozen=True)
class GuardSettings:
    """Set the limits (ours)."""

    window: int = 128
    """Accepted losses that a new one is compared with."""
    least: int = 32
    """Losses the window needs before anything counts as a spike."""
    deviations: float = 6.0
    """Standard deviations above the window's mean that make a spike."""
    least_deviation: float = 0.1
    """Lower bound of the standard deviation, in nats."""
    patience: int = 8
    """Bad steps in a row after which training goes back."""
    rollbacks: int = 3
    """Times training goes back before it gives up."""


@dataclass
class Guard:
    """Watch losses and gradient norms."""

    settings: GuardSettings = field(default_factory=GuardSettings)
    losses: list[float] = field(default_factory=list[float])
    bad_steps: int = 0
    """Bad steps in a row."""
    skipped: int = 0
    """Bad steps in all."""
    rollbacks: int = 0

    def judge(self, loss: float, gradient_norm: float) -> Verdict:
        """Return what to do with this step's update, and remember the loss if it is accepted."""
        if self.is_bad(loss, gradient_norm):
            self.bad_steps += 1
            self.skipped += 1
            if self.bad_steps < self.settings.patience:
                return "skip"
            return "stop" if self.rollbacks == self.settings.rollbacks else "rollback"
        self.bad_steps = 0
        self.losses.append(loss)
        del self.losses[: -self.settings.window]
        return "apply"

    def is_bad(self, loss: float, gradient_norm: float) -> bool:
        """Tell whether a step is not finite or its loss a spike."""
        if not (math.isfinite(loss) and math.isfinite(gradient_norm)):
            return True
        if len(self.losses) < self.settings.least:
            return False
        spread = max(statistics.pstdev(self.losses), self.settings.least_deviation)
        return loss > statistics.fmean(self.losses) + self.settings.deviations * spread

    def went_back(self, losses: list[float]) -> None:
        """Count a rollback and take over the window of the anchor."""
        self.losses = list(losses)
        self.bad_steps = 0
        self.rollbacks += 1

    def recent_loss(self, count: int = 20) -> float:
        """Return the mean of the last accepted losses; NaN without any."""
        return statistics.fmean(self.losses[-count:]) if self.losses else math.nan

    def state(self) -> dict[str, Any]:
        """Return the state as JSON values; floats survive exactly."""
        return {
            "losses": self.losses,
            "bad_steps": self.bad_steps,
            "skipped": self.skipped,
            "rollbacks": self.rollbacks,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self.losses = [float(loss) for loss in state["losses"]]
        self.bad_steps = int(state["bad_steps"])
        self.skipped = int(state["skipped"])
        self.rollbacks = int(state["rollbacks"])
