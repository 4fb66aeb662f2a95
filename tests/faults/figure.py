"""What a measurement of one reliability goal says, and the seed it follows from."""

from __future__ import annotations

import os
import secrets
from typing import NamedTuple


class Figure(NamedTuple):
    """Hold one row of the table: the goal, what was found in `n` trials, and whether it holds."""

    row: str
    goal: str
    n: int
    figure: str
    holds: bool


def draw_seed() -> int:
    """Return the seed that STRATA_TEST_SEED names, else a fresh one; printed by whoever uses it.

    Tests drop every `STRATA_` variable, so it is read when the module that needs it is imported.
    """
    return int(os.environ.get("STRATA_TEST_SEED") or secrets.randbits(32))


def shown(figure: Figure, seed: int) -> Figure:
    """Print a figure with its seed, so that a failing test can be repeated; return it."""
    print(f"STRATA_TEST_SEED={seed} {figure.row} n={figure.n}: {figure.figure}")
    return figure
