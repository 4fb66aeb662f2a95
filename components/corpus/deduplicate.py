"""Exact and near duplicates: which documents go, and which one of each group stays.

Exact: equal text after case, punctuation and spacing are removed. Near: MinHash bands (Broder 1997)
propose pairs, exact shingle sets confirm them, and union-find joins what is confirmed. Without the
confirmation shared licence headers chain thousands of documents into one. The data engine computes
sketches and bands (`bands.py`); only positions come back. Of a group the document with the lowest
position is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import pyarrow as pa

from components.corpus.bands import buckets
from components.corpus.config import NearDuplicates

_NOT_WORD = re.compile(r"[\W_]+")
REPRESENTATIVES = 16
"""Documents of one bucket that a newcomer is compared with; bounds the work in a huge bucket."""


def normalized(text: str) -> str:
    """Return a text's words in lower case, one space apart; code keeps its words only."""
    return _NOT_WORD.sub(" ", text.lower()).strip()


def exact_key(text: str) -> str:
    """Return the digest under which exact duplicates meet, whatever their case and spacing."""
    return sha256((normalized(text) or text).encode()).hexdigest()


def exact_duplicates(keys: Sequence[str]) -> list[int]:
    """Return the positions whose key occurred before."""
    seen: set[str] = set()
    again: list[int] = []
    for position, key in enumerate(keys):
        if key in seen:
            again.append(position)
        seen.add(key)
    return again


def near_duplicates(texts: pa.ChunkedArray, config: NearDuplicates, scratch: Path) -> list[int]:
    """Return the sorted positions of documents that nearly repeat one at a lower position.

    Two documents of Jaccard similarity s are compared with probability 1 - (1 - s^rows)^bands.
    """
    proposed = buckets(texts, config, scratch)
    wanted = sorted({position for bucket in proposed for position in bucket})
    shingles = {
        position: shingle_set(texts[position].as_py(), config.shingle_words) for position in wanted
    }
    pairs = _confirmed(proposed, shingles, config.threshold)
    groups = connected(pairs)
    return sorted(position for position, first in groups.items() if position != first)


def shingle_set(text: str, words: int) -> frozenset[str]:
    """Return the runs of `words` words of a text; a shorter text is one shingle."""
    all_words = normalized(text).split(" ")
    count = max(len(all_words) - words + 1, 1)
    return frozenset(" ".join(all_words[at : at + words]) for at in range(count))


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Return the size of the intersection over that of the union."""
    shared = len(first & second)
    return shared / max(len(first) + len(second) - shared, 1)


def connected(pairs: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Map every position that occurs in `pairs` to the lowest one it is connected to."""
    parent: dict[int, int] = {}

    def root(position: int) -> int:
        while parent.setdefault(position, position) != position:
            parent[position] = parent[parent[position]]
            position = parent[position]
        return position

    for first, second in pairs:
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return {position: root(position) for position in sorted(parent)}


def _confirmed(
    proposed: list[list[int]], shingles: Mapping[int, frozenset[str]], threshold: float
) -> list[tuple[int, int]]:
    """Return the pairs that are similar; in a bucket, newcomers meet the first of their kind."""
    verdicts: dict[tuple[int, int], bool] = {}

    def same(pair: tuple[int, int]) -> bool:
        if pair not in verdicts:
            similarity = jaccard(shingles[pair[0]], shingles[pair[1]])
            verdicts[pair] = similarity >= threshold
        return verdicts[pair]

    for bucket in proposed:
        representatives: list[int] = []
        for position in bucket:
            known = True in {same((other, position)) for other in representatives}
            room = REPRESENTATIVES - len(representatives)
            representatives += [position][: 0 if known else room]
    return sorted(pair for pair, similar in verdicts.items() if similar)
