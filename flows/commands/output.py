"""How commands print: data on standard output, talk on standard error, tables as plain text."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from flows.scores import aligned


def emit(value: Any, *, compact: bool = False) -> None:
    """Print a JSON value; `compact` keeps it on one line."""
    text = json.dumps(value, ensure_ascii=False, indent=None if compact else 1, default=str)
    print(text, flush=True)


def say(text: str) -> None:
    """Tell the user something that is not data."""
    print(text, file=sys.stderr, flush=True)


def table(head: list[str], rows: list[list[Any]]) -> str:
    """Lay rows out under a heading."""
    return aligned([head, *([_text(cell) for cell in row] for row in rows)], left=len(head))


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell)


def when(seconds: float | None) -> str:
    """Write UNIX seconds as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""


def size(count: float | None) -> str:
    """Write a number of bytes with a unit."""
    return _scaled(count, 1000, ("B", "kB", "MB", "GB", "TB"))


def amount(count: float | None) -> str:
    """Write a count with K, M, B or T."""
    return _scaled(count, 1000, ("", "K", "M", "B", "T"))


def _scaled(count: float | None, step: int, units: tuple[str, ...]) -> str:
    if count is None:
        return ""
    value = float(count)
    for unit in units[:-1]:
        if abs(value) < step:
            return f"{value:.3g} {unit}".rstrip()
        value /= step
    return f"{value:.3g} {units[-1]}"
