"""Scores of a run's checkpoints and what each gained on the one before, read from the store."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from components.artifacts.store import ArtifactStore
from components.catalog import queries
from components.catalog.queries import ArtifactRow
from components.catalog.session import Catalog

GAINS = ("success/greedy", "success/sampled")
"""Scores whose gain from checkpoint to checkpoint is shown."""


@dataclass(frozen=True)
class Score:
    """Hold one score with its interval of 95 %."""

    value: float
    n: int
    low: float
    high: float


@dataclass(frozen=True)
class CheckpointScores:
    """Hold the scores of one checkpoint, by name."""

    checkpoint: str
    key: str
    values: dict[str, Score]


@dataclass(frozen=True)
class Gain:
    """Hold what a checkpoint gained on the one before in one score, with its interval of 95 %."""

    checkpoint: str
    before: str
    score: str
    difference: Score


def files_of(store: ArtifactStore, artifact: ArtifactRow) -> Path:
    """Return the directory of an artifact's content files."""
    manifest = store.manifest(artifact.stage, artifact.key)
    if manifest is None:  # set aside: what is left of it is read where it lies
        return store.attempt(artifact.stage, artifact.key, artifact.attempt).files
    return store.files(manifest)


def scores_of_run(
    catalog: Catalog, store: ArtifactStore, run_id: str
) -> tuple[CheckpointScores, ...]:
    """Read the scores of every scored checkpoint of a run, in the order of the recipe."""
    artifacts = queries.artifacts_of_run(catalog, run_id)
    return tuple(
        CheckpointScores(step.step.removeprefix("scores."), step.key, values)
        for step in queries.steps(catalog, run_id)
        if step.stage == "evaluate" and step.key and step.step in artifacts
        if (values := read_scores(files_of(store, artifacts[step.step])))
    )


def read_scores(files: Path) -> dict[str, Score]:
    """Read `scores.json` of a Scores artifact without what could not be measured; empty where it is
    not there.
    """
    try:
        table = json.loads((files / "scores.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return {
        name: Score(entry["value"], entry["n"], entry["low"], entry["high"])
        for name, entry in table.items()
        if entry["value"] is not None and math.isfinite(entry["value"])
    }


def read_items(files: Path, scores: Iterable[str]) -> dict[str, dict[str, float]]:
    """Read outcomes by score and item from `items.jsonl`; empty where it is not there."""
    found: dict[str, dict[str, float]] = {name: {} for name in scores}
    try:
        with (files / "items.jsonl").open(encoding="utf-8") as lines:
            items = [json.loads(line) for line in lines]
    except (FileNotFoundError, ValueError):
        return {}
    for item in items:
        if item["score"] in found:
            found[item["score"]][item["id"]] = float(item["value"])
    return found


def paired_difference(before: Mapping[str, float], after: Mapping[str, float]) -> Score | None:
    """Return the mean change over the items that both scored, with its normal interval; None for
    fewer than two.
    """
    changes = [after[name] - before[name] for name in sorted(before.keys() & after.keys())]
    if len(changes) < 2:
        return None
    reach = 1.959964 * stdev(changes) / math.sqrt(len(changes))
    return Score(fmean(changes), len(changes), fmean(changes) - reach, fmean(changes) + reach)


def gains_of_run(catalog: Catalog, store: ArtifactStore, run_id: str) -> tuple[Gain, ...]:
    """Compare each scored checkpoint of a run with the one before, item by item."""
    artifacts = queries.artifacts_of_run(catalog, run_id)
    scored = [
        (
            step.step.removeprefix("scores."),
            read_items(files_of(store, artifacts[step.step]), GAINS),
        )
        for step in queries.steps(catalog, run_id)
        if step.stage == "evaluate" and step.step in artifacts
    ]
    return tuple(
        Gain(checkpoint, before, score, difference)
        for (before, old), (checkpoint, new) in pairwise(scored)
        for score in GAINS
        if (difference := paired_difference(old.get(score, {}), new.get(score, {})))
    )


def score_rows(runs: Mapping[str, Sequence[CheckpointScores]]) -> list[dict[str, Any]]:
    """Lay the scores of several runs out as table rows: run, checkpoint, score, value, n, low,
    high.
    """
    return [
        {
            "run": run,
            "checkpoint": scores.checkpoint,
            "score": name,
            "value": score.value,
            "n": score.n,
            "low": score.low,
            "high": score.high,
        }
        for run, of_run in runs.items()
        for scores in of_run
        for name, score in scores.values.items()
    ]
