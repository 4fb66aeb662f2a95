"""Gradients as one flat vector, summed in pairs.

All gradients of a model are views of one buffer, so that their norm, their clipping and their sum
over ranks are single operations. Sums over micro-batches are made in a fixed tree, ((0+1)+(2+3)):
ranks that hold consecutive micro-batches hold subtrees, and with a power-of-two world the sum over
ranks finishes the same tree. So the world size does not change a bit of the result.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

LOSS, COUNT, STOP, SAVE = -4, -3, -2, -1
"""Places behind the gradients: summed loss, tokens it is over, ranks that were asked to stop, ranks
that find their last resume point old.

fp32 counts exactly up to 16.7 million tokens a step.
"""


class GradientBuffer:
    """Lend every parameter its gradient as a part of one vector."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        size = sum(parameter.numel() for parameter in parameters)
        self.flat = torch.zeros(size - LOSS, device=parameters[0].device)
        offset = 0
        for parameter in parameters:
            end = offset + parameter.numel()
            parameter.grad = self.flat[offset:end].view_as(parameter)
            offset = end

    @property
    def gradients(self) -> torch.Tensor:
        """The gradients alone."""
        return self.flat[:LOSS]


class PairwiseSum:
    """Add vectors in the order of a binary tree; holds one vector a level."""

    def __init__(self) -> None:
        self._levels: list[tuple[int, torch.Tensor]] = []

    def add(self, vector: torch.Tensor) -> None:
        """Take over one more vector; it may be changed."""
        level = 0
        while self._levels and self._levels[-1][0] == level:
            vector = self._levels.pop()[1].add_(vector)
            level += 1
        self._levels.append((level, vector))

    def total(self) -> torch.Tensor:
        """Return the sum; incomplete subtrees are added from the smallest up."""
        vector = self._levels.pop()[1]
        while self._levels:
            vector = self._levels.pop()[1].add_(vector)
        return vector
