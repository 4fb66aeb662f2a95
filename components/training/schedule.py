"""The course of the learning rate: a linear rise, a constant stretch, a linear fall.

Factors are relative to the peak, so that one course serves both optimizers.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Give the factor of the learning rates at each step; a pure function of the step."""

    steps: int
    warmup: float = 0.05
    decay: float = 0.3
    floor: float = 0.1

    def __call__(self, step: int) -> float:
        """Return the factor at `step`, counted from 0; the last step has `floor`.

        Rise over the first `warmup * steps`, fall over the last `decay * steps` (ours). Where the
        two overlap the smaller factor holds.
        """
        rising = round(self.warmup * self.steps)
        falling = round(self.decay * self.steps)
        factor = min(1.0, (step + 1) / rising) if rising else 1.0
        left = self.steps - 1 - step
        if left < falling:
            factor = min(factor, self.floor + (1 - self.floor) * left / falling)
        return factor
