"""The factor by which fp16 losses are scaled up, so that small gradients do not vanish.

It falls when a gradient overflows and rises after a long run without. Micikevicius et al. 2018,
arXiv 1710.03740, section 3.2; the figures are those of torch's own scaler. An overflow says nothing
about the batch, so the guard does not hear of it, as long as the factor can still fall.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

START, LEAST = 2.0**16, 1.0
STEPS_TO_RISE = 2000


@dataclass
class LossScale:
    """Hold the factor and the updates since it last changed."""

    value: float = START
    steps: int = 0

    def overflowed(self, loss: float, norm: float) -> bool:
        """Adapt to a step; return whether its gradient only overflowed."""
        if math.isfinite(loss) and not math.isfinite(norm) and self.value > LEAST:
            self.value, self.steps = max(self.value / 2, LEAST), 0
            return True
        self.steps += 1
        if self.steps == STEPS_TO_RISE:
            self.value, self.steps = self.value * 2, 0
        return False
