"""Which domain the sequence at a position comes from, as a pure function.

Weights are rounded to counts that sum to a block of `BLOCK` positions; within a block each domain's
sequences are spread evenly (its k-th of n is due at (k + 1/2) / n). So shares are exact in every
block, off by less than one sequence anywhere inside, and the number of a domain's sequences before
a position is a table look-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

BLOCK = 1000
"""Positions after which the pattern repeats: weights are kept to 1/1000."""


def place(position: int, mixture: Mapping[str, float]) -> tuple[str, int]:
    """Return the domain at a position and how many sequences of it come before.

    Raises ValueError for an empty mixture or a weight that is not positive.
    """
    names, order, before, counts = _pattern(tuple(sorted(mixture.items())))
    block, inside = divmod(position, BLOCK)
    which = order[inside]
    return names[which], block * counts[which] + before[inside]


@lru_cache(maxsize=64)
def _pattern(
    weights: tuple[tuple[str, float], ...],
) -> tuple[tuple[str, ...], list[int], list[int], list[int]]:
    if not weights or any(weight <= 0 for _, weight in weights):
        raise ValueError(f"a mixture needs positive weights, not {dict(weights)}")
    names = tuple(name for name, _ in weights)
    counts = _rounded([weight for _, weight in weights])
    due = [
        ((2 * k + 1) / (2 * count), which, k)
        for which, count in enumerate(counts)
        for k in range(count)
    ]
    due.sort()
    return names, [which for _, which, _ in due], [k for _, _, k in due], counts


def _rounded(weights: list[float]) -> list[int]:
    """Return whole numbers that sum to BLOCK, by largest remainder, none zero."""
    exact = np.asarray(weights) / sum(weights) * BLOCK
    counts = np.maximum(np.floor(exact).astype(int), 1)
    for which in np.argsort(counts - exact, kind="stable"):
        if counts.sum() >= BLOCK:
            break
        counts[which] += 1
    while counts.sum() > BLOCK:
        counts[np.argmax(counts)] -= 1
    return [int(count) for count in counts]
