"""Tables of scores and configurations, as HTML and as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from dashboards import figures, markup, theme
from dashboards.charts import is_share
from dashboards.checkpoint_scores import CheckpointScores, Gain, Score, score_rows

_FIRST = ("success/greedy", "success/sampled", "recovery", "function_call", "planning")


def score_names(scores: Sequence[CheckpointScores]) -> list[str]:
    """List the scores that occur: success first, single families last."""
    names = {name for of_one in scores for name in of_one.values}
    plain = sorted(n for n in names if n not in _FIRST and not n.startswith("success/greedy/"))
    families = sorted(n for n in names if n.startswith("success/greedy/"))
    return [*(n for n in _FIRST if n in names), *plain, *families]


def scores(found: Sequence[CheckpointScores]) -> str:
    """Lay the scores of a run out: one row a score, one column a checkpoint, the best in bold."""
    rows: list[list[str]] = []
    for name in score_names(found):
        values = [of_one.values.get(name) for of_one in found]
        best = _best(name, values)
        cells = [_score_cell(name, value, value is best) for value in values]
        rows.append([markup.mono(name), *cells])
    columns = [of_one.checkpoint for of_one in found]
    return markup.table(["", *columns], rows, right=range(1, len(columns) + 1))


def _best(name: str, values: Sequence[Score | None]) -> Score | None:
    known = [value for value in values if value is not None]
    if len({value.value for value in known}) < 2:
        return None
    choose = max if is_share(name) else min
    return choose(known, key=lambda score: score.value)


def _score_cell(name: str, score: Score | None, best: bool) -> str:
    if score is None:
        return '<span class="s-muted">–</span>'
    share = is_share(name)
    value = f"{100 * score.value:.1f} %" if share else f"{score.value:.3f}"
    value = f'<span class="s-best">{value}</span>' if best else value
    note = f"{figures.interval(score, share=share)} · n {score.n:,}"
    return f"{value}<br><small>{note}</small>"


def gains(found: Sequence[Gain]) -> str:
    """Lay out what each checkpoint gained on the one before: one row a checkpoint."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for gain in found:
        d = gain.difference
        moved = markup.change(d.value, low=d.low, high=d.high)
        note = f" <small>{100 * d.low:+.1f} to {100 * d.high:+.1f} · n {d.n:,}</small>"
        rows.setdefault((gain.checkpoint, gain.before), {})[gain.score] = moved + note
    names = list(dict.fromkeys(gain.score for gain in found))
    body = [
        [f"<b>{escape(checkpoint)}</b> <small>over {escape(before)}</small>"]
        + [cells.get(name, "–") for name in names]
        for (checkpoint, before), cells in rows.items()
    ]
    return markup.table(["Checkpoint", *names], body, right=range(1, len(names) + 1))


def compared_scores(runs: Mapping[str, Sequence[CheckpointScores]], checkpoint: str) -> str:
    """Lay one checkpoint's scores of several runs side by side, with the difference."""
    of_runs = {
        run: next((s.values for s in of_run if s.checkpoint == checkpoint), {})
        for run, of_run in runs.items()
    }
    names = score_names([CheckpointScores(checkpoint, "", v) for v in of_runs.values()])
    rows: list[list[str]] = []
    for name in names:
        values = [found.get(name) for found in of_runs.values()]
        best = _best(name, values) if len(values) > 1 else None
        cells = [_score_cell(name, value, value is best) for value in values]
        rows.append([markup.mono(name), *cells, _spread(name, values)])
    return markup.table(["", *of_runs, "last − first"], rows, right=range(1, len(of_runs) + 2))


def _spread(name: str, values: Sequence[Score | None]) -> str:
    first, last = values[0], values[-1]
    if first is None or last is None or len(values) < 2:
        return "–"
    moved = last.value - first.value
    if moved == 0:
        return '<span class="s-muted">=</span>'
    text = f"{100 * moved:+.1f}" if is_share(name) else f"{moved:+.3f}"
    known = min(first.n, last.n) > 1  # one observation has an interval without width
    apart = known and (last.low > first.high or last.high < first.low)
    if not apart:
        return text
    better = (moved > 0) == is_share(name)
    return f'<span class="{"s-up" if better else "s-down"}"><b>{text}</b></span>'


def differences(rows: Mapping[str, Sequence[Any]], runs: Sequence[str]) -> str:
    """Lay out the configuration fields in which runs differ."""
    body = [
        [markup.mono(name), *(_value(value) for value in values)] for name, values in rows.items()
    ]
    return markup.table(["Field", *runs], body)


def _value(value: Any) -> str:
    if value is None:
        return '<span class="s-muted">absent</span>'
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return markup.mono(text if len(text) <= 160 else text[:157] + "…")


def csv_of_scores(runs: Mapping[str, Sequence[CheckpointScores]]) -> str:
    """Write the scores of several runs as CSV, one row a score."""
    fields = ["run", "checkpoint", "score", "value", "n", "low", "high"]
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(score_rows(runs))
    return text.getvalue()


def key_values(values: Mapping[str, Any]) -> str:
    """Lay names and values out in two columns."""
    rows = [[markup.mono(name), escape(_plain(value))] for name, value in values.items()]
    return markup.table((), rows)


def sources(report: Mapping[str, Any]) -> str:
    """Lay out what a corpus read from each source, what it kept, and why it dropped the rest."""
    rows = [
        [
            f"<b>{escape(one['source'])}</b>{_fallback(one)}<br><small>{escape(one['domain'])}"
            "</small>",
            f"{one['read']['documents']:,}<br><small>{theme.size(one['read']['bytes'])}</small>",
            f"{one['kept']['documents']:,}<br><small>{theme.size(one['kept']['bytes'])}</small>",
            _dropped(one["dropped"]),
            f"<small>{markup.mono(_revision(one['revision']))}</small>",
        ]
        for one in report["sources"]
    ]
    return markup.table(("Source", "Read", "Kept", "Dropped", "Revision"), rows, right=(1, 2))


def _dropped(reasons: Mapping[str, Mapping[str, int]]) -> str:
    ordered = sorted(reasons.items(), key=lambda item: -item[1]["documents"])
    parts = [f"{escape(why.replace('_', ' '))} {n['documents']:,}" for why, n in ordered]
    return " · ".join(parts) or '<span class="s-muted">nothing</span>'


def _fallback(source: Mapping[str, Any]) -> str:
    return ' <span class="s-bad">stand-in</span>' if source["fallback"] else ""


def _revision(held: str) -> str:
    """Shorten the checksums in a revision."""
    return " ".join(part if len(part) < 24 else f"{part[:19]}…" for part in held.split())


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:.5g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
