"""Which domain each position of the training sequence takes.

The assignment is a pure function of the position and the shares: no state and no generator, so a
resumed run and another world size see the same text. Domains take turns so that after any number
of positions each has had its share to within one sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from components.contract import BadInput

PERIOD = 1 << 14
"""Positions after which the order of domains repeats."""


def domain_at(position: int, mixture: Mapping[str, float]) -> tuple[str, int]:
    """Return the domain at a position, and how many positions before it took the same domain."""
    names, order, ranks = _turns(tuple(sorted(mixture.items())))
    period, offset = divmod(position, PERIOD)
    turn = int(order[offset])
    return names[turn], period * int((order == turn).sum()) + int(ranks[offset])


Turns = tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int64]]


@lru_cache(maxsize=64)
def _turns(mixture: tuple[tuple[str, float], ...]) -> Turns:
    """Order the domains of one period: each turn goes to the one furthest behind its share."""
    wanted = np.array([share for _, share in mixture], dtype=np.float64)
    if not mixture or wanted.min() < 0 or wanted.sum() <= 0:
        raise BadInput(f"the mixture {dict(mixture)} needs shares of which one is above 0")
    wanted = wanted / wanted.sum()
    taken = np.zeros(len(wanted), dtype=np.int64)
    order = np.zeros(PERIOD, dtype=np.int64)
    ranks = np.zeros(PERIOD, dtype=np.int64)
    for position in range(PERIOD):
        turn = int(np.argmax(wanted * (position + 1) - taken))
        order[position], ranks[position] = turn, taken[turn]
        taken[turn] += 1
    return tuple(name for name, _ in mixture), order, ranks
