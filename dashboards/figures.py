"""The big numbers of a run, worked out from its steps and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.catalog.liveness import worked_seconds
from components.catalog.queries import AttemptRow, Step
from dashboards import markup, theme
from dashboards.checkpoint_scores import CheckpointScores, Score
from dashboards.queries import Progress, RunDetail


def success(scores: Sequence[CheckpointScores], mode: str = "greedy") -> dict[str, float]:
    """Return success by checkpoint, between 0 and 1."""
    name = f"success/{mode}"
    return {s.checkpoint: s.values[name].value for s in scores if name in s.values}


def step_seconds(step: Step | AttemptRow, now: float) -> float | None:
    """Return how long a step or an attempt took, so far if it runs; None where it did not work."""
    if step.started is None or step.state in {"cached", "pending", "skipped"}:
        return None
    ended = now if step.state == "running" else step.ended
    return ended - step.started if ended is not None else None


def first_start(detail: RunDetail) -> float:
    """Return when the first step began that this run executed; the run's beginning before that."""
    began = [s.started for s in detail.steps if s.started is not None and s.state != "cached"]
    return min(began, default=detail.run.created)


def cards(
    detail: RunDetail,
    scores: Sequence[CheckpointScores],
    progress: Mapping[str, Progress],
    now: float,
) -> list[tuple[str, str, str]]:
    """Return label, value and note (HTML) of what a reader wants to know first."""
    run = detail.run
    seconds = worked_seconds(run.state, run.seconds, run.created, detail.steps, now)
    finished = sum(1 for s in detail.steps if s.state in {"done", "cached"})
    executed = sum(1 for s in detail.steps if s.state == "done")
    count = f"{executed} executed, {finished - executed} cached"
    ended = f"until {theme.clock(run.ended)}" if run.ended else ""
    return [
        *(_running_card(step, progress.get(step.step), now) for step in _running(detail)),
        *_success_cards(scores, "Final success" if detail.settled else "Success so far"),
        ("Time so far" if detail.live else "Time", theme.duration(seconds), ended),
        ("Steps finished", f"{finished} of {len(detail.steps)}", count),
    ]


def _running(detail: RunDetail) -> list[Step]:
    return [step for step in detail.steps if step.state == "running"]


def _running_card(step: Step, progress: Progress | None, now: float) -> tuple[str, str, str]:
    since = now - (step.started or now)
    if progress is None:
        return "Running now", step.step, f"for {theme.duration(since)}"
    note = f"{progress.done:,.0f} of {progress.total:,.0f} {markup.text(progress.unit)}"
    left = seconds_left(since, progress)
    if left is not None:
        note += f" · {theme.duration(left)} left"
    return f"Now: {step.step}", f"{100 * progress.share:.0f} %", note


def seconds_left(since: float, progress: Progress) -> float | None:
    """Estimate what a step still needs at its average rate; None before 2 % are done."""
    if progress.share < 0.02:
        return None
    return since * (1 - progress.share) / progress.share


def _success_cards(scores: Sequence[CheckpointScores], title: str) -> list[tuple[str, str, str]]:
    cards: list[tuple[str, str, str]] = []
    for mode in theme.MODES:
        scored = [s for s in scores if f"success/{mode}" in s.values]
        if not scored:
            continue
        last = scored[-1]
        note = f"{interval(last.values[f'success/{mode}'])} · {markup.text(last.checkpoint)}"
        cards.append(
            (f"{title}, {mode}", theme.percent(last.values[f"success/{mode}"].value), note)
        )
    texts = [s for s in scores if "bits_per_byte/general" in s.values]
    if texts:
        first, last = texts[0], texts[-1]
        value = last.values["bits_per_byte/general"].value
        moved = value - first.values["bits_per_byte/general"].value
        note = f"{moved:+.2f} since {markup.text(first.checkpoint)}"
        cards.append(("Bits per byte, general", f"{value:.2f}", note))
    return cards


def comparable(runs: Mapping[str, Sequence[CheckpointScores]]) -> list[str]:
    """List the scored checkpoints of several runs, the last one that all of them have first."""
    of_runs = [[of_one.checkpoint for of_one in of_run] for of_run in runs.values()]
    names = list(dict.fromkeys(name for of_run in of_runs for name in of_run))[::-1]
    shared = [name for name in names if all(name in of_run for of_run in of_runs)]
    return [*shared, *(name for name in names if name not in shared)]


def interval(score: Score, *, share: bool = True) -> str:
    """Write an interval of 95 %, in per cent for a share."""
    if share:
        return f"{100 * score.low:.1f}–{100 * score.high:.1f} %"
    return f"{score.low:.3f}–{score.high:.3f}"


def corpus_cards(
    counts: Mapping[tuple[str, str], int], report: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """Return how much text a corpus holds, by domain; `counts` is by split and domain."""
    sizes = report.get("bytes", {})
    domains = list(dict.fromkeys(domain for _, domain in counts))
    bytes_of = {d: sum(of_split.get(d, 0) for of_split in sizes.values()) for d in domains}
    whole = theme.size(sum(bytes_of.values()))
    cards = [("All documents", theme.number(sum(counts.values())), whole if sizes else "")]
    for domain in domains:
        count = theme.number(sum(n for (_, d), n in counts.items() if d == domain))
        held_out = f"{counts['heldout', domain]:,} held out"
        size = f"{theme.size(bytes_of[domain])} · " if sizes else ""
        cards.append((domain, count, size + held_out))
    return cards
