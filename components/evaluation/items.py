"""Outcomes of single items, and the scores with intervals made from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.evaluation.confidence import ratio_interval, wilson


@dataclass(frozen=True)
class Item:
    """Hold one outcome: 0 or 1 for a proportion, else a quantity whose mean is weighted."""

    score: str
    id: str
    value: float
    family: str = ""
    weight: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """Return the stored form; `family` and `weight` only where they say something."""
        stored: dict[str, Any] = {"score": self.score, "id": self.id, "value": self.value}
        if self.family:
            stored["family"] = self.family
        if self.weight != 1.0:
            stored["weight"] = self.weight
        return stored


def summarize(
    items: Sequence[Item], *, confidence: float, seed: int
) -> dict[str, dict[str, float | int]]:
    """Return score name to value, n, low and high, names sorted.

    Outcomes of 0 and 1 take Wilson's interval; weighted quantities such as bits per byte take a
    bootstrap over items. `success/greedy` is also given for each family.
    """
    grouped: dict[str, list[Item]] = {}
    for item in items:
        grouped.setdefault(item.score, []).append(item)
        if item.family and item.score == "success/greedy":
            grouped.setdefault(f"{item.score}/{item.family}", []).append(item)
    return {
        name: _summary(grouped[name], confidence=confidence, seed=seed) for name in sorted(grouped)
    }


def _summary(items: Sequence[Item], *, confidence: float, seed: int) -> dict[str, float | int]:
    n = len(items)
    if all(item.value in (0, 1) and item.weight == 1.0 for item in items):
        successes = sum(item.value for item in items)
        low, high = wilson(successes, n, confidence)
        return {"value": successes / n, "n": n, "low": low, "high": high}
    value, low, high = ratio_interval(
        [item.value * item.weight for item in items],
        [item.weight for item in items],
        confidence=confidence,
        seed=seed,
    )
    return {"value": value, "n": n, "low": low, "high": high}


def choose(
    records: Iterable[Mapping[str, Any]], count: int, *, seed: int
) -> list[Mapping[str, Any]]:
    """Return `count` records spread evenly over families, in an order fixed by (seed, id).

    A larger count extends a smaller one, so two evaluations share as many items as they can.
    """

    def rank(record: Mapping[str, Any]) -> bytes:
        return hashlib.blake2b(f"{seed}\0{record['id']}".encode(), digest_size=8).digest()

    families: dict[str, list[Mapping[str, Any]]] = {}
    for record in sorted(records, key=rank):
        families.setdefault(record.get("family", ""), []).append(record)
    groups = [families[name] for name in sorted(families)]
    longest = max((len(group) for group in groups), default=0)
    in_turn = [group[turn] for turn in range(longest) for group in groups if turn < len(group)]
    return in_turn[:count]


def read_records(path: Path, *, split: str | None = None) -> list[dict[str, Any]]:
    """Read a JSON-lines file; keep the records of `split` where one is given."""
    with path.open(encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return [record for record in records if split is None or record["split"] == split]


def write_scores(
    items: Sequence[Item], summary: Mapping[str, Mapping[str, float | int]], out: Path
) -> None:
    """Write scores.json and items.jsonl."""
    text = json.dumps(summary, indent=1, sort_keys=True) + "\n"
    (out / "scores.json").write_text(text, encoding="utf-8")
    with (out / "items.jsonl").open("w", encoding="utf-8", newline="\n") as lines:
        for item in items:
            lines.write(json.dumps(item.to_json(), ensure_ascii=False) + "\n")


def read_items(path: Path, score: str) -> dict[str, float]:
    """Return item id to outcome of one score, ready for `confidence.paired_difference`."""
    return {
        record["id"]: record["value"] for record in read_records(path) if record["score"] == score
    }
