"""Samples of the corpus: documents in hash order, up to a number of bytes a domain."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow.parquet as parquet

_ROWS = 1024


def sample_documents(path: Path, most_bytes: int, seed: int) -> Iterator[str]:
    """Yield texts of one parquet file until they hold `most_bytes` UTF-8 bytes.

    Documents are taken by hash of (seed, id), so a file much larger than the sample is read once
    and never held; the order of the texts is the file's.
    """
    table = parquet.ParquetFile(path)
    total = 0
    sizes: list[tuple[str, int]] = []
    for batch in table.iter_batches(batch_size=_ROWS, columns=["id", "text"]):
        for identity, text in zip(*batch.to_pydict().values(), strict=True):
            sizes.append((_rank(identity, seed), len(text.encode())))
            total += sizes[-1][1]
    limit = "~" if total <= most_bytes else _limit(sizes, most_bytes)
    for batch in table.iter_batches(batch_size=_ROWS, columns=["id", "text"]):
        for identity, text in zip(*batch.to_pydict().values(), strict=True):
            if _rank(identity, seed) < limit:
                yield text


def budgets(weights: Mapping[str, float], sample_bytes: int) -> dict[str, int]:
    """Share out the bytes of the sample over the domains."""
    whole = sum(weights.values())
    return {domain: round(sample_bytes * weight / whole) for domain, weight in weights.items()}


def _rank(identity: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{identity}".encode()).hexdigest()


def _limit(sizes: list[tuple[str, int]], most_bytes: int) -> str:
    taken = 0
    for rank, size in sorted(sizes):
        taken += size
        if taken > most_bytes:
            return rank
    return "~"  # sorts after every hexadecimal digit
