"""The kinds of artifact the pipeline makes, as a stage sees them: a verified local directory and
its facts.

Each class names the files that its stage writes and its readers open, and nothing else; how they
are read belongs to the package that owns the format.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DOMAINS = ("general", "stem", "code")
"""Domains of text; every corpus, mixture and text score is split by them."""


@dataclass(frozen=True)
class Artifact:
    """Open a committed artifact: its files lie under `path` and were checked against `digest`."""

    path: Path
    step: str
    key: str
    digest: str
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


class Corpus(Artifact):
    """Hold documents by split and domain."""

    def documents(self, split: str, domain: str) -> Path:
        """Return the parquet file of a split (`train`, `heldout`) and a domain.

        Columns: `id source title text kind` (strings; `kind` is empty where a document has no
        class) and `references` (list of strings: titles of other documents). Rows are sorted by
        id.
        """
        return self.path / split / f"{domain}.parquet"


class Tokenizer(Artifact):
    """Hold a tokenizer folder that `transformers` loads, with its contract and report."""


class Tasks(Artifact):
    """Hold tasks by split, the material their tools work on, and benchmark items."""

    def split(self, name: str) -> Path:
        """Return the JSON-lines file of a split: midtrain, sft, rl, dev or test."""
        return self.path / f"{name}.jsonl"

    def benchmark(self, name: str) -> Path:
        """Return the JSON-lines file of a benchmark's items."""
        return self.path / "benchmarks" / f"{name}.jsonl"

    @property
    def world(self) -> Path:
        """Directory of what the tools read: tables, documents and files."""
        return self.path / "world"


class TokenShards(Artifact):
    """Hold memory-mapped tokens by split and domain, with a document index."""


class Checkpoint(Artifact):
    """Hold canonical weights (`model.safetensors`) and the configuration (`config.json`)."""


class Trajectories(Artifact):
    """Hold executed and verified conversations."""

    def split(self, name: str) -> Path:
        """Return the JSON-lines file of a split: midtrain or sft."""
        return self.path / f"{name}.jsonl"


class Scores(Artifact):
    """Hold one checkpoint's scores."""

    @property
    def table(self) -> Path:
        """JSON of score name to value, n, low and high."""
        return self.path / "scores.json"

    @property
    def items(self) -> Path:
        """JSON lines with one outcome an item, for paired comparison."""
        return self.path / "items.jsonl"


class ReleasedModel(Artifact):
    """Hold a Hugging Face folder with its model card."""
