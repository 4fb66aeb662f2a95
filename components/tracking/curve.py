"""Follow the journals of successive attempts as one curve a metric, reading only what is new.

The result is that of `journal.metric_points` over the same directories; this one remembers how far
it has read, since a long run's journal must not be parsed again every few seconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

from components.tracking.journal import MetricPoint


class Curve:
    """Hold how far one step's journals were read, and the highest step of each metric so far."""

    def __init__(self, highest: dict[str, int] | None = None) -> None:
        self.highest = dict(highest or {})
        self._offsets: dict[Path, int] = {}

    def advance(self, attempts: Iterable[Path]) -> list[MetricPoint]:
        """Return the points written since the last call, without replays or non-finite values.

        `attempts` are journal directories, oldest first. A line without its end is left for the
        next call.
        """
        points: list[MetricPoint] = []
        for directory in attempts:
            for segment in sorted(directory.glob("*.jsonl")):
                self._read(segment, points)
        return points

    def _read(self, segment: Path, points: list[MetricPoint]) -> None:
        offset = self._offsets.get(segment, 0)
        with segment.open("rb") as file:
            file.seek(offset)
            fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._offsets[segment] = offset + len(whole)
        for line in whole.splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            if record.get("kind") != "metric":
                continue
            at, when = int(record["step"]), float(record["time"])
            for name, value in record["values"].items():
                if at <= self.highest.get(name, -1) or not math.isfinite(value):
                    continue
                self.highest[name] = at
                points.append(MetricPoint(name, at, when, value))
