"""Curves and logs of a step, read from the attempts' directories in the store.

A curve is thinned before it goes to a browser: large charts slow it down, and nobody sees more
points than pixels.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.artifacts.store import ArtifactStore
from components.tracking.journal import MetricPoint, metric_points, read_journal
from components.tracking.log_lines import log_lines

MOST_POINTS = 2000
_TAIL_BYTES = 256_000


@dataclass(frozen=True)
class Curve:
    """Hold one metric of one step over its optimizer steps, at most `MOST_POINTS` points."""

    step: str
    metric: str
    points: tuple[tuple[int, float], ...]

    @property
    def last(self) -> float:
        """Newest value."""
        return self.points[-1][1]


def curves(store: ArtifactStore, stage: str, key: str, step: str) -> list[Curve]:
    """Read the metrics of every attempt at a key as one curve each."""
    directories = [attempt.fetch_journal() for attempt in store.attempts(stage, key)]
    by_name: dict[str, list[MetricPoint]] = {}
    for point in metric_points(directory for directory in directories if directory.is_dir()):
        by_name.setdefault(point.name, []).append(point)
    return [
        Curve(step, name, downsample([(p.step, p.value) for p in points]))
        for name, points in sorted(by_name.items())
    ]


def downsample(
    points: Sequence[tuple[int, float]], most: int = MOST_POINTS
) -> tuple[tuple[int, float], ...]:
    """Thin a curve to at most `most` points (4 or more), keeping both ends and each bucket's
    lowest and highest value, so that a spike stays visible.
    """
    if len(points) <= most:
        return tuple(points)
    inner = points[1:-1]
    buckets = (most - 2) // 2
    kept = [points[0]]
    for bucket in range(buckets):
        part = inner[len(inner) * bucket // buckets : len(inner) * (bucket + 1) // buckets]
        low = min(part, key=lambda point: point[1])
        high = max(part, key=lambda point: point[1])
        kept += sorted({low, high})
    return (*kept, points[-1])


def smooth(points: Sequence[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """Average a curve exponentially, corrected for its start (Kingma and Ba 2015, section 3).

    The average reaches over a twelfth of the curve (ours), 50 points at most: more lags visibly
    behind a short curve, and less leaves a long one as rough as it was.
    """
    weight = 1 - 1 / min(50.0, max(1.0, len(points) / 12))
    total, scale = 0.0, 0.0
    smoothed: list[tuple[int, float]] = []
    for step, value in points:
        total = weight * total + (1 - weight) * value
        scale = weight * scale + (1 - weight)
        smoothed.append((step, total / scale))
    return tuple(smoothed)


def newest_change(store: ArtifactStore, stage: str, key: str) -> tuple[int, int]:
    """Return a number that changes when a journal of this key grows: segments and bytes."""
    count = size = 0
    for attempt in store.attempts(stage, key):
        sizes = attempt.journal_sizes()
        count += len(sizes)
        size += sum(sizes.values())
    return count, size


def journal_lines(directory: Path, most: int = 400) -> list[str]:
    """Write the newest records of one attempt's journal for a reader."""
    return list(deque(log_lines(read_journal(directory)), maxlen=most))


def tail(path: Path, most: int = 400) -> list[str]:
    """Return the last lines of a text file, reading no more than its end; empty where it is not
    there.
    """
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES)
            file.seek(start)
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    lines = text.splitlines()
    return (lines[1:] if start else lines)[-most:]
