"""Measure the reliability goals in full and print one table: `make soak`.

    python -m tests.faults.soak [--rows R2,R9] [--seed N]

A row that misses or breaks does not keep the others from being measured; the exit code says
whether all of them hold.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
import time
import traceback
from importlib import import_module
from pathlib import Path

from tests.conftest import QUIET
from tests.faults.figure import Figure

ROWS = {
    "R1": ("kill_anywhere", 200),
    "R2": ("torn_checkpoint", 1000),
    "R5": ("restart", 20),
    "R6": ("preemption", 100),
    "R7": ("services", 20),
    "R8": ("zombies", 20),
    "R9": ("one_writer", 500),
    "R9b": ("mid_submit", 100),
    "R10": ("crashes", 500),
    "R11": ("bad_batches", 50),
    "R12": ("corruption", 100),
    "R16": ("full_disk", 50),
    "R20": ("migrations", 50),
}
"""Module beside this one whose `measure` a row is, and its n in full."""


def main(arguments: list[str]) -> int:
    """Measure the chosen rows and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak")
    parser.add_argument("--rows", default=",".join(ROWS), help="rows, separated by commas")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    chosen = parser.parse_args(arguments)
    rows = chosen.rows.split(",")
    unknown = [row for row in rows if row not in ROWS]
    if unknown:
        parser.error(f"there is no row {unknown[0]}: choose from {', '.join(ROWS)}")
    os.environ.update(QUIET)
    print(f"seed {chosen.seed}", flush=True)
    found: list[tuple[Figure, float]] = []
    for row in rows:
        found.append(measured(row, chosen.seed))
        print(line(*found[-1]), file=sys.stderr, flush=True)
    print("| row | goal | n | figure | seconds | holds |\n|---|---|---|---|---|---|")
    for figure, seconds in found:
        print(line(figure, seconds))
    return int(not all(figure.holds for figure, _ in found))


def measured(row: str, seed: int) -> tuple[Figure, float]:
    """Measure one row in full; a failure of the measurement itself is a figure, too."""
    name, n = ROWS[row]
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="strata-soak-", ignore_cleanup_errors=True) as place:
        # A sandbox that root starts runs as nobody and must be able to enter.
        Path(place).chmod(0o755)
        os.environ |= {"STRATA_HOME": f"{place}/home", "PREFECT_HOME": f"{place}/home/prefect"}
        try:
            figure = import_module(f"tests.faults.{name}").measure(n, seed, Path(place) / row)
        except Exception as error:
            traceback.print_exc()
            said = " ".join(str(error).split())[:200]
            figure = Figure(row, name, n, f"not measured: {type(error).__name__}: {said}", False)
    return figure, time.monotonic() - started


def line(figure: Figure, seconds: float) -> str:
    """Write one row of the table."""
    holds = "yes" if figure.holds else "**no**"
    cells = (figure.row, figure.goal, str(figure.n), figure.figure, f"{seconds:.0f}", holds)
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
