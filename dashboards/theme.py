"""Colours and number formats that every page shares.

A state has one colour wherever it occurs (strip, pill, graph, timeline), and so has a step: blues
for text, terracottas for agent training, as the layers lie on each other.
"""

from __future__ import annotations

import time

INK = "#1F2A30"
MUTED = "#6B757B"
FAINT = "#A3ABAF"
LINE = "#E5E1DA"
PAPER = "#F7F5F1"
ACCENT = "#B4543A"
LINK = "#2F6690"

STATES = {
    "done": "#3F8F6B",
    "cached": "#B3D3C4",
    "running": "#2E7FC1",
    "failed": "#C8403A",
    "lost": "#C8403A",
    "stopped": "#DDA63A",
    "interrupted": "#DDA63A",
    "pending": "#E6E8E8",
    "skipped": "#EFEDE9",
}
"""State of a run, step or attempt to colour."""

KINDS = {
    "data": "#71808A",
    "text training": "#2F6690",
    "agent training": "#B4543A",
    "scores": "#CFA035",
    "release": "#75508A",
}
"""What a step does, to colour."""

_KIND_OF_STAGE = {
    "pretrain": "text training",
    "agentic_midtrain": "agent training",
    "sft": "agent training",
    "rl": "agent training",
    "evaluate": "scores",
    "export": "release",
}

_STEPS = {
    "commonsense": "#1F4E6B",
    "stem": "#3A86B0",
    "long_context": "#7DB4D1",
    "agentic_base": "#E0A070",
    "assistant": "#C4633F",
    "agent": "#7F2F22",
}

RUNS = ("#2F6690", "#D1783C", "#4C8C6A", "#9B4F96", "#8A7A2F", "#5B6770")
"""Colours of compared runs, in the order they were chosen."""

DOMAINS = {"general": "#2F6690", "stem": "#CFA035", "code": "#4C8C6A"}
"""Domain of text to colour."""

MODES = {"greedy": "#B4543A", "sampled": "#DE9B70"}
"""How answers were generated, to colour."""


def kind_of(stage: str) -> str:
    """Return what a stage does: a key of `KINDS`."""
    return _KIND_OF_STAGE.get(stage, "data")


def step_colour(step: str, stage: str = "") -> str:
    """Return the colour of a step: its own, or that of its kind."""
    return _STEPS.get(step) or KINDS[kind_of(stage)]


_SHADES = ((0.0, "F7EFEA"), (0.5, "DE9F84"), (0.8, "B4543A"), (1.0, "7F2F22"))


def shade(share: float) -> str:
    """Return the colour of a share between 0 and 1, from pale to dark."""
    share = min(1.0, max(0.0, share))
    right = next(i for i, (stop, _) in enumerate(_SHADES) if share <= stop and i) if share else 1
    (low, pale), (high, dark) = _SHADES[right - 1], _SHADES[right]
    part = (share - low) / (high - low)
    channels = (
        round((1 - part) * int(pale[i : i + 2], 16) + part * int(dark[i : i + 2], 16))
        for i in (0, 2, 4)
    )
    return "#" + "".join(f"{channel:02X}" for channel in channels)


def duration(seconds: float | None) -> str:
    """Write seconds for a reader: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`, `3 d 4 h`."""
    if seconds is None:
        return "–"
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def ago(moment: float | None, now: float | None = None) -> str:
    """Say how long a moment (UNIX seconds) is past; after a week, its date."""
    if moment is None:
        return "–"
    past = (time.time() if now is None else now) - moment
    if past < 60:
        return "just now"
    for size, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if past >= size:
            count = int(past // size)
            if name == "day" and count > 7:
                return time.strftime("%-d %b %Y", time.localtime(moment))
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"


def clock(moment: float | None) -> str:
    """Write a moment (UNIX seconds) as local date and time."""
    if moment is None:
        return "–"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def percent(value: float | None, digits: int = 1) -> str:
    """Write a share between 0 and 1 in per cent."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def size(count: float) -> str:
    """Write bytes with a decimal unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def number(value: float) -> str:
    """Write a count: digits in groups up to 99,999, then `1.2M`, `3.4G`."""
    if abs(value) < 100_000:
        return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"
    for unit, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= scale:
            return f"{value / scale:.3g}{unit}"
    return f"{value:.4g}"


def short(key: str | None) -> str:
    """Shorten a key or digest to twelve digits."""
    return (key or "–")[:12]
