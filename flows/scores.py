"""The table a run ends with: what each checkpoint can do, and what it gained on the one before.

Two successive checkpoints were scored on the same items, so their difference is judged item by
item. The interval of that difference is the normal one for the mean of paired differences.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from components.artifacts.store import ArtifactStore
from flows.runs import RunRecord

Z95 = 1.959964
"""Quantile of the two-sided 95 % interval."""
PREFIX = "scores."
TOOL_COLUMNS = {
    "success/greedy": "success, greedy",
    "success/sampled": "success, sampled",
    "recovery": "recovery",
}
TEXT_COLUMNS = {
    "planning": "planning",
    "function_call": "function call",
    "multiple_choice": "multiple choice",
    "bits_per_byte/general": "bits/byte general",
    "bits_per_byte/stem": "bits/byte stem",
    "bits_per_byte/code": "bits/byte code",
}
GAINS = ("success/greedy", "success/sampled")


@dataclass(frozen=True)
class Score:
    """Hold one score with its 95 % interval."""

    value: float
    n: int
    low: float
    high: float


@dataclass(frozen=True)
class CheckpointScores:
    """Hold the scores of one checkpoint and the outcome of each item, by score name."""

    checkpoint: str
    scores: dict[str, Score]
    items: dict[str, dict[str, float]]


def scores_of_run(store: ArtifactStore, record: RunRecord) -> list[CheckpointScores]:
    """Read the scores of a run's checkpoints, in the order of its pipeline."""
    found: list[CheckpointScores] = []
    for name, step in record.steps.items():
        if not name.startswith(PREFIX) or step.digest is None or step.key is None:
            continue
        manifest = store.manifest(step.stage, step.key)
        if manifest is not None:
            found.append(read_scores(name.removeprefix(PREFIX), store.files(manifest)))
    return found


def read_scores(checkpoint: str, directory: Path) -> CheckpointScores:
    """Read one Scores artifact."""
    table = json.loads((directory / "scores.json").read_text(encoding="utf-8"))
    items: dict[str, dict[str, float]] = {}
    path = directory / "items.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        item = json.loads(line)
        items.setdefault(item["score"], {})[str(item["id"])] = float(item["value"])
    scores = {name: Score(**{k: row[k] for k in _FIELDS}) for name, row in table.items()}
    return CheckpointScores(checkpoint, scores, items)


_FIELDS = ("value", "n", "low", "high")


def paired_gain(before: Mapping[str, float], after: Mapping[str, float]) -> Score | None:
    """Return the mean difference over shared items with its paired 95 % interval."""
    shared = sorted(before.keys() & after.keys())
    if len(shared) < 2:
        return None
    differences = [after[item] - before[item] for item in shared]
    n = len(differences)
    mean = sum(differences) / n
    variance = sum((d - mean) ** 2 for d in differences) / (n - 1)
    reach = Z95 * math.sqrt(variance / n)
    return Score(mean, n, mean - reach, mean + reach)


def gains(checkpoints: list[CheckpointScores], name: str) -> dict[str, Score]:
    """Return what each checkpoint gained on the one before it in one score."""
    found: dict[str, Score] = {}
    for before, after in pairwise(checkpoints):
        gain = paired_gain(before.items.get(name, {}), after.items.get(name, {}))
        if gain is not None:
            found[after.checkpoint] = gain
    return found


def scores_json(checkpoints: list[CheckpointScores]) -> dict[str, dict[str, Any]]:
    """Return checkpoint to score name to value, n, low and high."""
    return {
        each.checkpoint: {name: asdict(score) for name, score in each.scores.items()}
        for each in checkpoints
    }


def score_tables(checkpoints: list[CheckpointScores]) -> str:
    """Lay the scores out as two plain-text tables, success and knowledge; empty without any."""
    if not checkpoints:
        return ""
    tools = _table(checkpoints, TOOL_COLUMNS, GAINS)
    text = _table(checkpoints, TEXT_COLUMNS, ())
    notes = "Gains are on the checkpoint above, over the same items; in brackets 95 % intervals."
    return "\n\n".join(part for part in (tools, text, notes) if part)


def _table(
    checkpoints: list[CheckpointScores], columns: Mapping[str, str], gained: tuple[str, ...]
) -> str:
    present = [name for name in columns if any(name in each.scores for each in checkpoints)]
    if not present:
        return ""
    head = ["checkpoint"]
    for name in present:
        head += [columns[name], *(["gain"] if name in gained else [])]
    by_name = {name: gains(checkpoints, name) for name in gained}
    rows = [head]
    for each in checkpoints:
        row = [each.checkpoint]
        for name in present:
            row.append(_cell(each.scores.get(name), name))
            if name in gained:
                row.append(_gain(by_name[name].get(each.checkpoint)))
        rows.append(row)
    return aligned(rows)


def _cell(score: Score | None, name: str) -> str:
    if score is None or score.n == 0 or math.isnan(score.value):
        return "–"
    if name.startswith("bits_per_byte"):
        return f"{score.value:.3f} ({score.low:.2f}–{score.high:.2f})"
    return f"{100 * score.value:.1f} % ({100 * score.low:.1f}–{100 * score.high:.1f})"


def _gain(score: Score | None) -> str:
    if score is None:
        return ""
    return f"{100 * score.value:+.1f} ({100 * score.low:+.1f} to {100 * score.high:+.1f})"


def aligned(rows: list[list[str]], left: int = 1) -> str:
    """Lay rows out in columns, the first `left` to the left, others to the right; row 0 heads."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if at < left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "─" * max(len(line) for line in lines), *lines[1:]])
