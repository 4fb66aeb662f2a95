"""Rotary positions: pair j of a vector turns by position * base**(-2j / width).

Shapes: B batch, T time, H heads, R rotary width. Pairs lie side by side, (x0, x1), (x2, x3), as in
DeepSeek-V3; the result is given half by half (all first members, then all second ones), which is
also what `transformers` returns. Scores do not change, since query and key are permuted alike.
"""

from __future__ import annotations

import torch


class RotaryTable:
    """Keep cosines and sines of the positions seen so far; grows by doubling."""

    def __init__(self, rope_dim: int, base: float) -> None:
        self.rope_dim = rope_dim
        self.base = base
        self._cos = torch.empty(0, rope_dim // 2)
        self._sin = torch.empty(0, rope_dim // 2)

    def at(
        self, start: int, count: int, *, device: torch.device, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosines and sines [count, R/2] of the positions from `start`."""
        if self._cos.device != device or self._cos.dtype != dtype or len(self._cos) < start + count:
            self._fill(max(start + count, 2 * len(self._cos)), device, dtype)
        return self._cos[start : start + count], self._sin[start : start + count]

    def _fill(self, count: int, device: torch.device, dtype: torch.dtype) -> None:
        exponents = torch.arange(0, self.rope_dim, 2, dtype=torch.float32, device=device)
        frequencies = 1.0 / self.base ** (exponents / self.rope_dim)
        positions = torch.arange(count, dtype=torch.float32, device=device)
        angles = positions[:, None] * frequencies
        self._cos, self._sin = angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate the last dimension of `x` [..., R]; `cos` and `sin` broadcast to [..., R/2]."""
    first, second = x[..., 0::2], x[..., 1::2]
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
