"""HTML that Streamlit has no widget for: state pills, stage strips, cards, tables.

Everything that comes from a run is escaped here. Links are relative, so that they also hold behind
a path prefix.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from urllib.parse import urlencode

from components.catalog.liveness import worked_seconds
from components.catalog.queries import Step
from dashboards import theme
from dashboards.queries import RunSummary


def stylesheet() -> str:
    """Return the style sheet with the theme's colours as variables."""
    variables = {
        "ink": theme.INK,
        "muted": theme.MUTED,
        "line": theme.LINE,
        "paper": theme.PAPER,
        "accent": theme.ACCENT,
        "link": theme.LINK,
    }
    root = "".join(f"--{name}:{value};" for name, value in variables.items())
    sheet = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    return f"<style>:root{{{root}}}\n{sheet}</style>"


def link(page: str, label: str, **parameters: str | int | None) -> str:
    """Return an anchor to a page of this dashboard; `label` is HTML."""
    return f'<a class="s-link" href="{href(page, **parameters)}">{label}</a>'


def file_link(url: str, label: str) -> str:
    """Return an anchor to a file in the store; `label` is HTML, and stands alone without a URL."""
    return f'<a class="s-link" href="{escape(url)}" rel="noreferrer">{label}</a>' if url else label


def href(page: str, **parameters: str | int | None) -> str:
    """Return the relative address of a page with its parameters, escaped for an attribute."""
    query = urlencode({name: value for name, value in parameters.items() if value is not None})
    return escape(f"{page}?{query}" if query else page)


def mono(text: str) -> str:
    """Return text in the code font."""
    return f'<span class="s-mono">{escape(text)}</span>'


def pill(state: str) -> str:
    """Return a state with its colour; a running one pulses."""
    live = " s-live" if state == "running" else ""
    colour = theme.STATES.get(state, theme.FAINT)
    return f'<span class="s-pill{live}" style="--state:{colour}">{escape(state)}</span>'


def strip(steps: Iterable[Step]) -> str:
    """Return one coloured cell a step; a gap stands where the kind of step changes."""
    cells: list[str] = []
    kind = ""
    for step in steps:
        classes = "s-live" if step.state == "running" else ""
        if kind and theme.kind_of(step.stage) != kind:
            classes += " s-gap"
        kind = theme.kind_of(step.stage)
        colour = theme.STATES.get(step.state, theme.FAINT)
        seconds = step.ended - step.started if step.ended and step.started else None
        title = f"{step.step}: {step.state}"
        if seconds is not None and step.state != "cached":
            title += f", {theme.duration(seconds)}"
        cells.append(
            f'<i class="{classes.strip()}" style="--state:{colour}" title="{escape(title)}"></i>'
        )
    return f'<span class="s-strip">{"".join(cells)}</span>'


def legend(colours: dict[str, str]) -> str:
    """Return names with their colours."""
    entries = "".join(
        f'<span style="--state:{colour}"><i></i>{escape(name)}</span>'
        for name, colour in colours.items()
    )
    return f'<div class="s-legend">{entries}</div>'


def runs_table(runs: Sequence[RunSummary], now: float) -> str:
    """Return the list of runs; a click anywhere in a row opens the run."""
    rows: list[str] = []
    for run in runs:
        target = href("run", run=run.id)
        seconds = worked_seconds(run.state, run.seconds, run.created, run.steps, now)
        success = theme.percent(run.success) if run.success is not None else "–"
        of_what = f"<br><small>{escape(run.scored)}</small>" if run.scored else ""
        cells = (
            f'<span class="s-name">{escape(run.recipe)}</span><br><small class="s-mono">'
            f"{escape(run.id)}</small>",
            pill(run.state),
            strip(run.steps),
            f'<span title="{theme.clock(run.created)}">{theme.ago(run.created, now)}</span>',
            theme.duration(seconds),
            f'<span class="s-big">{success}</span>{of_what}',
        )
        anchors = "".join(f'<td><a href="{target}">{cell}</a></td>' for cell in cells[:4])
        anchors += "".join(
            f'<td class="s-right"><a href="{target}">{cell}</a></td>' for cell in cells[4:]
        )
        rows.append(f"<tr>{anchors}</tr>")
    head = "<th>Run</th><th>State</th><th>Steps</th><th>Started</th>"
    head += '<th class="s-right">Duration</th><th class="s-right">Greedy success</th>'
    return (
        f'<div class="s-scroll"><table class="s-table s-rows"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return a plain table; cells are HTML, `right` are the columns set flush right."""
    side = dict.fromkeys(right, ' class="s-right"')
    titles = "".join(f"<th{side.get(i, '')}>{escape(name)}</th>" for i, name in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(f"<td{side.get(i, '')}>{cell}</td>" for i, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    top = f"<thead><tr>{titles}</tr></thead>" if head else ""
    return f'<div class="s-scroll"><table class="s-table">{top}<tbody>{body}</tbody></table></div>'


def cards(entries: Iterable[tuple[str, str, str]]) -> str:
    """Return big numbers: label, value, and a note under it (HTML)."""
    return (
        '<div class="s-cards">'
        + "".join(
            f'<div class="s-card"><div class="s-label">{escape(label)}</div>'
            f'<div class="s-value">{escape(value)}</div><div class="s-note">{note}</div></div>'
            for label, value, note in entries
        )
        + "</div>"
    )


def heading(title: str, beside: str = "", below: Iterable[str] = ()) -> str:
    """Return a page's title with something beside it and a line of facts under it (both HTML)."""
    facts = "".join(f"<span>{fact}</span>" for fact in below)
    return (
        f'<div class="s-head"><h1>{escape(title)}</h1>{beside}</div>'
        f'<div class="s-sub">{facts}</div>'
    )


def banner(text: str, *, error: bool = False) -> str:
    """Return a message across the page; `text` is HTML."""
    return f'<div class="s-banner{" s-error" if error else ""}">{text}</div>'


def empty(text: str) -> str:
    """Return what stands where there is nothing to show; `text` is HTML."""
    return f'<div class="s-empty">{text}</div>'


def log(lines: Sequence[str]) -> str:
    """Return the lines of a log in a box that scrolls and opens at its end."""
    return f'<div class="s-log"><pre>{escape(chr(10).join(lines))}</pre></div>'


def change(difference: float, *, low: float | None = None, high: float | None = None) -> str:
    """Return a difference of shares in points, coloured when its interval leaves out 0."""
    text = f"{100 * difference:+.1f} points"
    certain = low is not None and high is not None and (low > 0 or high < 0)
    if not certain:
        return text
    return f'<span class="{"s-good" if difference > 0 else "s-bad"}">{text}</span>'


def text(raw: str) -> str:
    """Escape text and keep its line breaks."""
    return escape(raw).replace("\n", "<br>")


def outside(url: str, label: str) -> str:
    """Return an anchor to another server's page, which opens beside this one."""
    return f'<a class="s-link" href="{escape(url)}" target="_blank">{escape(label)}</a>'
