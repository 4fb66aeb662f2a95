"""Show a run while it goes, on standard error: a live table on a terminal, a line now and then
elsewhere.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flows.board import StepView

if TYPE_CHECKING:  # it brings the catalog's database library, which `status` has no need of
    from flows.context import Run

LINE_SECONDS = 10.0
REFRESH_SECONDS = 0.5
MARKS = {
    "cached": "·",
    "done": "✓",
    "running": "▶",
    "failed": "✗",
    "stopped": "■",
    "pending": " ",
    "skipped": " ",
}


@contextmanager
def watch(run: Run) -> Generator[None]:
    """Show the run's board while the body lasts."""
    over = threading.Event()
    terminal = sys.stderr.isatty()
    run.board.echo = not terminal
    target = _live if terminal else _lines
    thread = threading.Thread(target=target, args=(run, over), name="display", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(5)
        run.board.echo = True


def duration(seconds: float | None) -> str:
    """Write a time in seconds as `8 s`, `3:05` or `2:03:05`."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def line(view: StepView) -> str:
    """Describe a running step in one line."""
    parts = [view.name]
    if view.total:
        share = 100 * view.done / view.total
        parts.append(f"{share:.0f} % ({view.done:g}/{view.total:g} {view.unit})")
    if view.loss is not None:
        parts.append(f"loss {view.loss:.3f}")
    parts.append(f"{duration(view.seconds)} so far")
    if view.eta is not None:
        parts.append(f"about {duration(view.eta)} to go")
    return ", ".join(parts)


def _lines(run: Run, over: threading.Event) -> None:
    """Print changes of state as they come and a line for what runs every ten seconds."""
    shown = {name: view.state for name, view in run.board.steps.items()}
    waited = 0.0
    while True:
        finished = over.wait(REFRESH_SECONDS)
        waited += REFRESH_SECONDS
        for name, view in list(run.board.steps.items()):
            if shown.get(name) != view.state:
                shown[name] = view.state
                took = f" in {duration(view.seconds)}" if view.state == "done" else ""
                _print(f"{MARKS.get(view.state, '?')} {name} {view.state}{took}")
        if finished:
            return
        if waited >= LINE_SECONDS:
            waited = 0.0
            running = [view for view in run.board.steps.values() if view.state == "running"]
            for view in running:
                _print(f"  {line(view)}")


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _live(run: Run, over: threading.Event) -> None:
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), refresh_per_second=4) as live:
        while True:
            finished = over.wait(REFRESH_SECONDS)
            live.update(_table(run))
            if finished:
                return


def _table(run: Run) -> Any:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("", "step", "", "progress", "loss", "time", "to go"):
        table.add_column(heading, justify="left" if heading in {"", "step"} else "right")
    for view in list(run.board.steps.values()):
        running = view.state == "running"
        bar = ProgressBar(total=view.total or 1, completed=view.done, width=24) if running else ""
        share = f"{view.done:g}/{view.total:g} {view.unit}" if running and view.total else ""
        table.add_row(
            MARKS.get(view.state, "?"),
            view.name,
            bar,
            share,
            "" if view.loss is None else f"{view.loss:.3f}",
            duration(view.seconds) if view.state != "cached" else "cached",
            duration(view.eta),
            style={"running": "bold", "failed": "red", "pending": "dim"}.get(view.state, ""),
        )
    for message in run.board.messages[-3:]:
        table.add_row("", message)
    return table
