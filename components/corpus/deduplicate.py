"""Exact and near duplicates: which documents go, and which one of each group stays.

Exact: equal text after case, punctuation and spacing are removed. Near: MinHash bands (Broder 1997)
propose pairs, exact shingle sets confirm them, and union-find joins what is confirmed. Without the
confirmation shared licence headers chain thousands of documents into one. Daft computes sketches
and bands, on this machine or on a Ray cluster with the same plan; only ids and the texts of
proposed documents come back. Of a group the document with the lowest position is kept.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import pyarrow as pa

from components.corpus.config import NearDuplicates

_NOT_WORD = re.compile(r"[\W_]+")
REPRESENTATIVES = 16
"""Documents of one bucket that a newcomer is compared with; bounds the work in a huge bucket."""
SKETCH_SEED = 1


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


def near_duplicates(texts: Sequence[str] | pa.ChunkedArray, config: NearDuplicates) -> list[int]:
    """Return the sorted positions of documents that nearly repeat one at a lower position.

    Two documents of Jaccard similarity s are compared with probability 1 - (1 - s^rows)^bands.
    """
    buckets = _buckets(texts, config)
    wanted = sorted({position for bucket in buckets for position in bucket})
    shingles = {
        position: shingle_set(_text(texts, position), config.shingle_words) for position in wanted
    }
    pairs = _confirmed(buckets, shingles, config.threshold)
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
    buckets: list[list[int]], shingles: Mapping[int, frozenset[str]], threshold: float
) -> list[tuple[int, int]]:
    verdicts: dict[tuple[int, int], bool] = {}
    for bucket in buckets:
        representatives: list[int] = []
        for position in bucket:
            matched = False
            for other in representatives:
                pair = (other, position)
                if pair not in verdicts:
                    similarity = jaccard(shingles[other], shingles[position])
                    verdicts[pair] = similarity >= threshold
                matched = matched or verdicts[pair]
            if not matched and len(representatives) < REPRESENTATIVES:
                representatives.append(position)
    return sorted(pair for pair, same in verdicts.items() if same)


def _buckets(texts: Sequence[str] | pa.ChunkedArray, config: NearDuplicates) -> list[list[int]]:
    """Return groups of two or more positions that agree in a band, each group sorted and once."""
    daft = _daft()
    column = texts if isinstance(texts, pa.ChunkedArray) else pa.array(texts, pa.large_string())
    table = pa.table({"position": pa.array(range(len(texts)), pa.int64()), "text": column})
    sketches = daft.from_arrow(table).select(
        daft.col("position"),
        daft.col("text")
        # minhash splits on spaces only: without this "end." and "end" differ
        .normalize(remove_punct=True, lowercase=True, nfd_unicode=True, white_space=True)
        .minhash(
            num_hashes=config.bands * config.rows,
            ngram_size=config.shingle_words,
            seed=SKETCH_SEED,
            hash_function="xxhash",
        )
        .alias("sketch"),
    )
    found = sketches.to_arrow()
    positions = found["position"].to_pylist()
    hashes = found["sketch"].combine_chunks().flatten().to_numpy()
    groups: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    width = config.rows * hashes.itemsize
    data = hashes.tobytes()
    for row, position in enumerate(positions):
        start = row * width * config.bands
        for band in range(config.bands):
            at = start + band * width
            groups[band, data[at : at + width]].append(position)
    return sorted({tuple(sorted(group)) for group in groups.values() if len(group) > 1})


def _text(texts: Sequence[str] | pa.ChunkedArray, position: int) -> str:
    text = texts[position]
    return text if isinstance(text, str) else text.as_py()


def _daft() -> Any:
    """Import Daft without telemetry; it reads the variables when it is imported."""
    import os
    os.environ["DO_NOT_TRACK"] = "1"
    import daft

    return daft
