"""Charts of a run as Altair objects; data in, chart out.

One look for all: hairline grid, no frames, colours from `theme`, intervals of 95 % drawn as bars.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from components.catalog.queries import Step
from dashboards import theme
from dashboards.checkpoint_scores import CheckpointScores
from dashboards.journals import Curve, smooth
from dashboards.queries import Progress

ENDED_EARLY = {"failed", "stopped", "interrupted"}
_ROW = 25


def timeline(
    steps: Sequence[Step], progress: Mapping[str, Progress], start: float, now: float
) -> alt.LayerChart:
    """Draw one bar a step over the seconds since `start`; the part of a running step that is done
    is darker.
    """
    rows = [timeline_row(step, progress.get(step.step), start, now) for step in steps]
    order = [step.step for step in steps]
    end = max([row["to"] for row in rows] + [1.0])
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y(
            "step:N",
            sort=order,
            title=None,
            axis=alt.Axis(ticks=False, domain=False, labelPadding=10, labelLimit=180, grid=False),
        ),
        tooltip=[
            alt.Tooltip("step:N"),
            alt.Tooltip("state:N"),
            alt.Tooltip("time:N"),
            alt.Tooltip("reason:N"),
        ],
    )
    colour = alt.Color("colour:N", scale=None, legend=None)
    x = alt.X(
        "from:Q",
        title=None,
        scale=alt.Scale(domain=[0, end * 1.13], nice=False),
        axis=alt.Axis(
            domain=False,
            ticks=False,
            gridColor=theme.LINE,
            labelExpr=_CLOCK,
            values=clock_ticks(end * 1.13),
            orient="top",
        ),
    )
    faint = base.mark_bar(height=15, cornerRadius=3, opacity=0.28).encode(
        x=x, x2="to:Q", color=colour
    )
    solid = base.mark_bar(height=15, cornerRadius=3).encode(x=x, x2="solid:Q", color=colour)
    text = base.mark_text(align="left", dx=6, fontSize=11.5).encode(
        x=alt.X("to:Q"), text="label:N", color=alt.Color("ink:N", scale=None)
    )
    return _finish(alt.layer(faint, solid, text).properties(height=_ROW * len(rows) + 10))


_CLOCK = (
    "datum.value == 0 ? '0' : datum.value % 3600 == 0 ? datum.value / 3600 + ' h' : "
    "datum.value % 60 == 0 ? datum.value / 60 + ' min' : datum.value + ' s'"
)
_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)


def clock_ticks(end: float, most: int = 9) -> list[int]:
    """Choose round moments between 0 and `end` seconds, at most `most` of them up to nine days."""
    step = next((tick for tick in _TICKS if end / tick <= most - 1), _TICKS[-1])
    return list(range(0, int(end) + 1, step))


def timeline_row(step: Step, progress: Progress | None, start: float, now: float) -> dict[str, Any]:
    """Compute one bar of the timeline: ends in seconds since `start`, its colours and label."""
    began = max(0.0, (step.started or start) - start)
    timed = step.started is not None and step.state not in {"cached", "pending", "skipped"}
    until = max(began, (step.ended or now) - start) if timed else began
    share = progress.share if progress else 0.0
    running = step.state == "running"
    seconds = until - began
    label = theme.duration(seconds) if timed else step.state
    if running and progress:
        label += f" · {100 * share:.0f} %"
    if step.state in ENDED_EARLY:
        label = f"{step.state} after {label}" if step.ended else step.state
    return {
        "step": step.step,
        "state": step.state,
        "time": theme.duration(seconds) if timed else "–",
        "reason": step.cause or step.reason or "",
        "from": began if timed else 0.0,
        "to": until if timed else 0.0,
        "solid": began + seconds * share if running else (until if timed else 0.0),
        "label": label,
        "colour": _bar_colour(step),
        "ink": theme.STATES["failed"] if step.state == "failed" else theme.MUTED,
    }


def _bar_colour(step: Step) -> str:
    if step.state in ENDED_EARLY:
        return theme.STATES[step.state]
    return theme.KINDS[theme.kind_of(step.stage)]


def success_by_checkpoint(scores: Sequence[CheckpointScores]) -> alt.LayerChart:
    """Draw greedy and sampled success by checkpoint with intervals of 95 %."""
    rows = [
        {
            "checkpoint": of_one.checkpoint,
            "answers": mode,
            "value": score.value,
            "low": score.low,
            "high": score.high,
            "n": score.n,
            "label": f"{100 * score.value:.0f} %",
        }
        for of_one in scores
        for mode in theme.MODES
        if (score := of_one.values.get(f"success/{mode}"))
    ]
    return _intervals(
        rows,
        order=[of_one.checkpoint for of_one in scores],
        series="answers",
        colours=theme.MODES,
    )


def success_by_run(
    runs: Mapping[str, Sequence[CheckpointScores]], colours: Mapping[str, str], score: str
) -> alt.LayerChart:
    """Draw one score by checkpoint for several runs with intervals of 95 %."""
    rows = [
        {
            "checkpoint": of_one.checkpoint,
            "run": name,
            "value": found.value,
            "low": found.low,
            "high": found.high,
            "n": found.n,
            "label": _label(score, found.value),
        }
        for name, of_run in runs.items()
        for of_one in of_run
        if (found := of_one.values.get(score))
    ]
    order = dict.fromkeys(s.checkpoint for of_run in runs.values() for s in of_run)
    return _intervals(
        rows, order=list(order), series="run", colours=colours, share=is_share(score), legend=False
    )


def is_share(score: str) -> bool:
    """Whether a score lies between 0 and 1; bits per byte do not."""
    return not score.startswith("bits_per_byte")


def _label(score: str, value: float) -> str:
    return f"{100 * value:.0f} %" if is_share(score) else f"{value:.2f}"


def _intervals(
    rows: list[dict[str, Any]],
    *,
    order: list[str],
    series: str,
    colours: Mapping[str, str],
    share: bool = True,
    legend: bool = True,
) -> alt.LayerChart:
    names = list(colours)
    colour = alt.Color(
        f"{series}:N",
        scale=alt.Scale(domain=names, range=list(colours.values())),
        legend=alt.Legend(orient="top", title=None, symbolType="circle", symbolOpacity=1)
        if legend
        else None,
    )
    axis = alt.Axis(
        format="%" if share else ".2f", domain=False, ticks=False, gridColor=theme.LINE, tickCount=5
    )
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X(
            "checkpoint:N",
            sort=order,
            title=None,
            scale=alt.Scale(domain=order),
            axis=alt.Axis(labelAngle=0, domainColor=theme.LINE, ticks=False, labelPadding=8),
        ),
        xOffset=alt.XOffset(f"{series}:N", scale=alt.Scale(domain=names, paddingOuter=0.7)),
        color=colour,
    )
    y = alt.Y(
        "value:Q",
        title=None,
        axis=axis,
        scale=alt.Scale(domain=[0, _top(rows)]) if share else alt.Scale(zero=False),
    )
    digits = ".1%" if share else ".3f"
    points = base.mark_circle(size=48, opacity=1).encode(
        y=y,
        tooltip=[
            "checkpoint:N",
            f"{series}:N",
            alt.Tooltip("value:Q", format=digits),
            alt.Tooltip("low:Q", format=digits, title="95 % from"),
            alt.Tooltip("high:Q", format=digits, title="95 % to"),
            "n:Q",
        ],
    )
    bars = base.mark_rule(strokeWidth=5, opacity=0.35, strokeCap="round").encode(
        y=alt.Y("low:Q"), y2="high:Q"
    )
    labels = base.mark_text(dx=9, align="left", fontSize=11).encode(
        y=y, text="label:N", color=alt.value(theme.MUTED)
    )
    layers = [bars, points, labels] if len(names) <= 2 else [bars, points]
    return _finish(alt.layer(*layers).properties(height=330))


def _top(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the end of an axis of shares from 0: the next tenth above every interval."""
    highest = max((row["high"] for row in rows), default=1.0)
    return min(1.0, math.ceil(10 * highest + 0.2) / 10)


def text_loss(scores: Sequence[CheckpointScores]) -> alt.Chart:
    """Draw bits per byte of held-out text by checkpoint and domain; rising lines are forgetting."""
    rows = [
        {
            "checkpoint": of_one.checkpoint,
            "domain": domain,
            "value": score.value,
        }
        for of_one in scores
        for domain in theme.DOMAINS
        if (score := of_one.values.get(f"bits_per_byte/{domain}"))
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X(
            "checkpoint:N",
            sort=[of_one.checkpoint for of_one in scores],
            title=None,
            axis=alt.Axis(labelAngle=0, domainColor=theme.LINE, ticks=False, labelPadding=8),
        ),
        y=alt.Y(
            "value:Q",
            title=None,
            scale=alt.Scale(zero=False, padding=12),
            axis=alt.Axis(domain=False, ticks=False, gridColor=theme.LINE, tickCount=5),
        ),
        color=alt.Color(
            "domain:N",
            scale=alt.Scale(domain=list(theme.DOMAINS), range=list(theme.DOMAINS.values())),
            legend=alt.Legend(orient="top", title=None, symbolType="circle"),
        ),
        tooltip=["checkpoint:N", "domain:N", alt.Tooltip("value:Q", format=".3f")],
    )
    lines = base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=55, filled=True))
    return _finish(lines.properties(height=260))


def families(scores: Sequence[CheckpointScores]) -> alt.LayerChart:
    """Draw greedy success by task family and checkpoint as a grid of cells."""
    prefix = "success/greedy/"
    rows = [
        {
            "checkpoint": of_one.checkpoint,
            "family": name.removeprefix(prefix),
            "value": score.value,
            "label": f"{100 * score.value:.0f}",
            "fill": theme.shade(score.value),
            "ink": "#FFFFFF" if score.value > 0.55 else theme.INK,
            "n": score.n,
        }
        for of_one in scores
        for name, score in of_one.values.items()
        if name.startswith(prefix)
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X(
            "checkpoint:N",
            sort=[of_one.checkpoint for of_one in scores],
            title=None,
            axis=alt.Axis(
                labelAngle=-25,
                labelOverlap=False,
                domain=False,
                ticks=False,
                orient="top",
                labelPadding=6,
            ),
        ),
        y=alt.Y(
            "family:N",
            title=None,
            axis=alt.Axis(domain=False, ticks=False, labelPadding=10, labelLimit=180),
        ),
        tooltip=["family:N", "checkpoint:N", alt.Tooltip("value:Q", format=".1%"), "n:Q"],
    )
    cells = base.mark_rect(cornerRadius=4, stroke="white", strokeWidth=3).encode(
        color=alt.Color("fill:N", scale=None)
    )
    text = base.mark_text(fontSize=12).encode(text="label:N", color=alt.Color("ink:N", scale=None))
    count = len({row["family"] for row in rows})
    return _finish(alt.layer(cells, text).properties(height=36 * max(1, count) + 24))


_NUMBER = "abs(datum.value) >= 1000 ? format(datum.value, '~s') : format(datum.value, '.3~g')"


def curve(
    curves: Mapping[str, Curve], colours: Mapping[str, str], title: str, note: str = ""
) -> alt.LayerChart:
    """Draw one metric as a line for each name; the measured values lie faintly behind their
    average.
    """
    raw = [
        {"name": name, "step": step, "value": value}
        for name, one in curves.items()
        for step, value in one.points
    ]
    averaged = [
        {"name": name, "step": step, "value": value}
        for name, one in curves.items()
        for step, value in smooth(one.points)
    ]
    x = alt.X(
        "step:Q",
        title=None,
        axis=alt.Axis(grid=False, domainColor=theme.LINE, ticks=False, tickCount=5, format="~s"),
    )
    y = alt.Y(
        "value:Q",
        title=None,
        scale=alt.Scale(zero=False),
        axis=alt.Axis(
            domain=False, ticks=False, gridColor=theme.LINE, tickCount=4, labelExpr=_NUMBER
        ),
    )
    colour = alt.Color(
        "name:N",
        scale=alt.Scale(domain=list(colours), range=list(colours.values())),
        legend=None,
    )
    behind = alt.Chart(alt.Data(values=raw)).mark_line(strokeWidth=1, opacity=0.25)
    front = alt.Chart(alt.Data(values=averaged)).mark_line(strokeWidth=2)
    layers = [
        behind.encode(x=x, y=y, color=colour),
        front.encode(
            x=x,
            y=y,
            color=colour,
            tooltip=["name:N", "step:Q", alt.Tooltip("value:Q", format=".4g")],
        ),
    ]
    heading = alt.TitleParams(
        title,
        subtitle=note,
        anchor="start",
        fontSize=13,
        fontWeight=600,
        subtitleFontSize=12,
        subtitleColor=theme.MUTED,
        offset=8,
    )
    return _finish(alt.layer(*layers).properties(height=200, title=heading))


def _finish(chart: Any) -> Any:
    return (
        chart.configure_view(stroke=None)
        .configure(padding={"left": 5, "right": 9, "top": 5, "bottom": 5})
        .configure_axis(
            labelColor=theme.MUTED, labelFontSize=11.5, titleColor=theme.MUTED, gridWidth=0.7
        )
        .configure_title(color=theme.INK)
    )
