"""A journal as lines for a reader.

Most stages print nothing and report numbers only, so the log shows those too: one line for each
optimizer step, and progress where a stage has no steps.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def log_lines(records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line with the local time for each record, without progress that a metric told."""
    stepped = False
    for record in records:
        kind = record.get("kind")
        told = kind == "progress" and stepped
        stepped = kind == "metric" or told
        if not told and kind in _WRITERS:
            moment = time.strftime("%H:%M:%S", time.localtime(record["time"]))
            yield f"{moment}  {_WRITERS[kind](record)}".rstrip()


def _event(record: Mapping[str, Any]) -> str:
    details = {k: v for k, v in record.items() if k not in {"time", "kind", "name"}}
    return f"[{record['name']}] " + "  ".join(f"{k}={v}" for k, v in details.items())


def _metric(record: Mapping[str, Any]) -> str:
    values = (f"{name} {_number(value)}" for name, value in record["values"].items())
    return f"step {record['step']}  " + "  ".join(values)


def _number(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"


def _progress(record: Mapping[str, Any]) -> str:
    return f"{record['done']:,g} of {record['total']:,g} {record['unit']}"


_WRITERS = {
    "log": lambda record: record["message"],
    "event": _event,
    "metric": _metric,
    "progress": _progress,
}
