"""How fast training goes, and how many operations a token costs."""

from __future__ import annotations

import time
from collections import deque

from components.model.config import ModelConfig


def training_flops_per_token(config: ModelConfig, length: int) -> float:
    """Return the floating-point operations of forward and backward pass a token.

    Six a weight that takes part in a matrix product (the tied embedding once, as output), and six a
    pair of multiplied numbers in attention, whose causal half is counted (ours, after Kaplan et al.
    2020, arXiv 2001.08361, table 1).
    """
    norms = config.layers * (2 * config.hidden + config.q_rank + config.kv_rank) + config.hidden
    tables = config.vocab_size * config.hidden * (0 if config.tied else 1)
    weights = config.parameters - norms - tables
    attention = config.layers * config.heads * (config.qk_dim + config.v_dim) * length / 2
    return 6.0 * (weights + attention)


class Meter:
    """Measure tokens a second over the last steps."""

    def __init__(self, window: int = 20) -> None:
        self._marks: deque[tuple[float, int]] = deque(maxlen=window + 1)

    def rate(self, tokens: int) -> float:
        """Note that `tokens` were seen in all; return the recent rate, 0 at the first call."""
        self._marks.append((time.perf_counter(), tokens))
        (start, before), (now, after) = self._marks[0], self._marks[-1]
        return (after - before) / (now - start) if now > start else 0.0
