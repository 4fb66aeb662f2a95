"""The journal of one attempt: append-only JSON lines in numbered segments, and how to read them
back.

A stage reports here and nowhere else, so that training needs no tracking server. A segment is
closed after a few seconds; closed segments never change, which lets an object store and a shipper
take them one by one. A resumed attempt repeats steps that its predecessor had already journalled;
`metric_points` keeps the first record of each.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

SEGMENT_SECONDS = 5.0


class Journal:
    """Append records to the segments of one attempt; safe to call from several threads.

    Every record carries `time` (UNIX seconds) and `kind`: `metric`, `progress`, `event` or `log`.
    """

    def __init__(self, directory: Path, *, segment_seconds: float = SEGMENT_SECONDS) -> None:
        self.directory = directory
        self.segment_seconds = segment_seconds
        self.last_progress: dict[str, Any] = {}
        self.newest: dict[str, float] = {}
        """Newest value of each metric."""
        self._lock = threading.Lock()
        self._file: TextIO | None = None
        self._opened = 0.0
        directory.mkdir(parents=True, exist_ok=True)
        self._next = len(list(directory.glob("*.jsonl")))

    def metric(self, at: int, /, **values: float) -> None:
        """Record values at optimizer step `at`; a name's `__` becomes `/` (`train__loss` is
        `train/loss`).
        """
        named = {name.replace("__", "/"): float(value) for name, value in values.items()}
        self.newest |= named
        self._write({"kind": "metric", "step": at, "values": named})

    def progress(self, done: float, total: float, unit: str) -> None:
        """Record that `done` of `total` units are finished."""
        self.last_progress = {"done": done, "total": total, "unit": unit}
        self._write({"kind": "progress", **self.last_progress})

    def event(self, name: str, /, **details: Any) -> None:
        """Record something that happened once: a resume, a skipped batch, a rollback."""
        self._write({"kind": "event", "name": name, **details})

    def log(self, message: str) -> None:
        """Record one line for a reader."""
        self._write({"kind": "log", "message": message})

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _write(self, record: dict[str, Any]) -> None:
        line = json.dumps({"time": time.time(), **record}, allow_nan=True) + "\n"
        with self._lock:
            now = time.monotonic()
            if self._file is not None and now - self._opened > self.segment_seconds:
                self._file.close()
                self._file = None
            if self._file is None:
                self._file = (self.directory / f"{self._next:06d}.jsonl").open(
                    "a", encoding="utf-8"
                )
                self._next += 1
                self._opened = now
            self._file.write(line)
            self._file.flush()


def read_journal(directory: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of one attempt in the order they were written; a torn last line is left
    out.
    """
    for segment in sorted(directory.glob("*.jsonl")):
        for line in segment.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                break


@dataclass(frozen=True)
class MetricPoint:
    """Hold one value of one metric: optimizer step and UNIX seconds."""

    name: str
    step: int
    time: float
    value: float


def metric_points(attempts: Iterable[Path]) -> list[MetricPoint]:
    """Merge the journals of successive attempts into one curve a metric, without replays or
    non-finite values.
    """
    highest: dict[str, int] = {}
    points: list[MetricPoint] = []
    journals = (read_journal(directory) for directory in attempts)
    records = (record for journal in journals for record in journal if record["kind"] == "metric")
    for record in records:
        for name, value in record["values"].items():
            if record["step"] <= highest.get(name, -1) or not math.isfinite(value):
                continue
            highest[name] = record["step"]
            points.append(MetricPoint(name, record["step"], record["time"], value))
    return points
