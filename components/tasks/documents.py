"""Documents of the corpus that tasks are made of, read in bounded memory.

Selection is by hash of (seed, document id): no order of the corpus matters, and a larger corpus
changes only the documents that its new ones displace.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pyarrow.parquet as parquet

from components.artifacts.types import DOMAINS, Corpus
from components.tasks.splits import fraction

COLUMNS = ["id", "title", "kind", "text", "references"]
_ARROW_BATCH = 256


@dataclass(frozen=True)
class Document:
    """Hold one row of the corpus."""

    id: str
    title: str
    kind: str
    text: str
    references: tuple[str, ...]
    domain: str


def read_documents(path: Path, domain: str) -> Iterator[Document]:
    """Yield the documents of one parquet file."""
    table = parquet.ParquetFile(path)
    for batch in table.iter_batches(batch_size=_ARROW_BATCH, columns=COLUMNS):
        for row in cast("list[dict[str, object]]", batch.to_pylist()):
            yield Document(
                id=str(row["id"]),
                title=str(row["title"] or ""),
                kind=str(row["kind"] or ""),
                text=str(row["text"] or ""),
                references=tuple(cast("list[str]", row["references"] or [])),
                domain=domain,
            )


def choose_documents(
    corpus: Corpus, split: str, count: int, seed: int, keep: Callable[[Document], bool]
) -> list[Document]:
    """Return up to `count` documents of a corpus split that `keep` accepts, in hash order."""

    def rank(document: Document) -> float:
        return fraction(f"{seed}:{document.id}")

    def all_documents() -> Iterator[Document]:
        for domain in DOMAINS:
            yield from read_documents(corpus.documents(split, domain), domain)

    kept = (document for document in all_documents() if keep(document))
    return heapq.nsmallest(count, kept, key=rank)
