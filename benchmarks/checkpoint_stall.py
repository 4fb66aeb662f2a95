"""P9: how long training stands still for a resume point, over the fastest synchronous save.

The state is that of 22 million weights under AdamW, 0.27 GB. A: `ResumeWriter.save`, which training
waits for, the point before being on disk. B: the same state written and synced while training
waits, by `torch.save`, by safetensors, and by our own writer; the fastest counts. A stall is
waiting for memory and disk as much as computing, so this measures wall time of the training thread,
not process CPU time. It also prints what the writing thread costs the computing beside it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from safetensors.torch import save_file

from components.contract import Resources, StageContext
from components.tracking.journal import Journal
from components.training.resume import ResumeWriter

ROUNDS = 7
GOAL = 0.12
A_A_LIMIT = 0.03
"""A quarter of the goal: a wider spread of the same thing against itself voids the verdict."""


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def synced(write: Callable[[Path], object], path: Path) -> None:
    """Write a file and wait until it is on disk."""
    write(path)
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def compute(matrix: torch.Tensor, times: int) -> None:
    for _ in range(times):
        torch.mm(matrix, matrix)


def spread(values: list[float]) -> str:
    return f"{median(values):.4f} ({min(values):.4f} to {max(values):.4f})"


class Bench:
    """Save one state in every way."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        draw = torch.Generator().manual_seed(0)
        self.state = {
            f"{kind}.{layer}": torch.randn(4096, 1365, generator=draw)
            for kind in ("model", "first", "second")
            for layer in range(4)
        }
        self.step = 0
        self.context = StageContext(
            out=directory / "files", resume=directory / "resume", earlier_resumes=(),
            scratch=directory, journal=Journal(directory / "journal"), resources=Resources(),
            step="bench",
        )  # fmt: skip
        self.writer = ResumeWriter(self.context)

    def save(self) -> None:
        self.step += 1
        self.writer.save(self.step, self.state.items(), {})

    def save_and_wait(self) -> None:
        self.save()
        self.writer.wait()

    def by_torch(self) -> None:
        synced(lambda path: torch.save(self.state, path), self.directory / "state.pt")

    def by_safetensors(self) -> None:
        synced(lambda path: save_file(self.state, path), self.directory / "state.safetensors")


def main(directory: Path) -> None:
    """Measure in the order A B B A and print the ratio, its range and A against itself."""
    torch.set_num_threads(1)
    bench = Bench(directory)
    ways = {
        "torch.save": bench.by_torch,
        "safetensors": bench.by_safetensors,
        "ours": bench.save_and_wait,
    }
    bench.save_and_wait()
    stalls: list[list[float]] = []
    synchronous: dict[str, list[float]] = {name: [] for name in ways}

    def stall() -> float:
        took = seconds(bench.save)
        bench.writer.wait()
        return took

    for _ in range(ROUNDS):
        first = stall()
        for name, way in ways.items():
            synchronous[name].append(seconds(way))
        for name, way in reversed(ways.items()):
            synchronous[name].append(seconds(way))
        stalls.append([first, stall()])

    fastest = min(synchronous, key=lambda name: median(synchronous[name]))
    base = [sum(synchronous[fastest][at : at + 2]) / 2 for at in range(0, 2 * ROUNDS, 2)]
    ratios = [sum(pair) / 2 / one for pair, one in zip(stalls, base, strict=True)]
    itself = [(first - second) / one for (first, second), one in zip(stalls, base, strict=True)]
    for name, values in synchronous.items():
        print(f"synchronous, {name}: {spread(values)} s")
    print(f"stall: {spread([each for pair in stalls for each in pair])} s")
    print(f"stall / {fastest}: {spread(ratios)}; goal {GOAL}")
    void = " (void: too noisy)" if abs(median(itself)) > A_A_LIMIT else ""
    print(f"A minus A over the same save: {spread(itself)}{void}")
    print(f"computing beside the writer / alone: {spread(beside(bench))}")


def beside(bench: Bench) -> list[float]:
    """Return how much longer computing takes while a point is written, round by round."""
    matrix = torch.randn(512, 512)
    found: list[float] = []
    for _ in range(ROUNDS):
        alone = seconds(lambda: compute(matrix, 60))
        bench.save()
        found.append(seconds(lambda: compute(matrix, 60)) / alone)
        bench.writer.wait()
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if sys.argv[1:] else None) as made:
        main(Path(made))
