"""The stage `shards`: drop training documents that contain test questions, tokenise, pack.

Held-out text is not decontaminated: it is never trained on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyarrow import parquet

from components.artifacts.types import DOMAINS, Tasks
from components.contract import BadInput, StageContext, Stopped
from components.shards.config import ShardsConfig, ShardsFacts, ShardsInputs
from components.shards.decontaminate import Needles, needles
from components.shards.pack import DomainWriter, token_type, write_index
from components.tokenizer.contract import TextTokenizer, load_tokenizer

SPLITS = ("train", "heldout")
_ROWS = 256
_EXAMPLES = 50


@dataclass
class _Dropped:
    """Collect what decontamination dropped of one domain."""

    documents: int = 0
    bytes: int = 0
    by_question: Counter[str] = field(default_factory=Counter[str])
    examples: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def add(self, identity: str, size: int, question: str, found: str) -> None:
        self.documents += 1
        self.bytes += size
        self.by_question[question] += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append({"document": identity, "question": question, "words": found})


def run(config: ShardsConfig, inputs: ShardsInputs, context: StageContext) -> ShardsFacts:
    """Write `{train,heldout}/{domain}.*`, `index.json` and `report.json`.

    Raises BadInput where no training text is left.
    """
    tokenizer = load_tokenizer(inputs.tokenizer.path)
    wanted = needles(_questions(inputs.tasks), ngram=config.ngram, shortest=config.shortest_match)
    index: dict[str, dict[str, dict[str, int]]] = {split: {} for split in SPLITS}
    dropped: dict[str, _Dropped] = {domain: _Dropped() for domain in DOMAINS}
    parts = [(split, domain) for split in SPLITS for domain in DOMAINS]
    for number, (split, domain) in enumerate(parts):
        context.journal.progress(number, len(parts), "files")
        writer = DomainWriter(context.out / split, domain, token_type(tokenizer.vocab_size))
        path = inputs.corpus.documents(split, domain)
        for batch in _batches(path):
            if split == "train":
                batch = _clean(batch, wanted, dropped[domain])
            _append(writer, batch, tokenizer, config.max_document_tokens)
            if context.stop_requested():
                raise Stopped
        index[split][domain] = writer.close()
    context.journal.progress(len(parts), len(parts), "files")
    if not any(known["tokens"] for known in index["train"].values()):
        raise BadInput(
            "no training text is left: the corpus has none, or every document contains a test"
            " question. Add sources to the corpus, or raise shards.shortest_match."
        )
    write_index(
        context.out, index, vocab_size=tokenizer.vocab_size, tokenizer_digest=tokenizer.digest
    )
    _write_report(context.out, config, wanted, dropped)
    return ShardsFacts(
        tokens=_column(index["train"], "tokens"),
        heldout_tokens=_column(index["heldout"], "tokens"),
        documents=_column(index["train"], "documents"),
        contaminated={domain: each.documents for domain, each in dropped.items()},
    )


def _questions(tasks: Tasks) -> list[tuple[str, str]]:
    path = tasks.path / "contaminants.jsonl"
    with path.open(encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines if line.strip()]
    return [(record["id"], record["text"]) for record in records]


def _batches(path: Path) -> Iterator[list[tuple[str, str]]]:
    for batch in parquet.ParquetFile(path).iter_batches(_ROWS, columns=["id", "text"]):
        yield list(zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True))


def _clean(
    batch: list[tuple[str, str]], wanted: Needles, dropped: _Dropped
) -> list[tuple[str, str]]:
    kept: list[tuple[str, str]] = []
    for identity, text in batch:
        found = wanted.find(text)
        if found is None:
            kept.append((identity, text))
        else:
            dropped.add(identity, len(text.encode()), *found)
    return kept


def _append(
    writer: DomainWriter, batch: list[tuple[str, str]], tokenizer: TextTokenizer, most: int
) -> None:
    encoded = tokenizer.encode_batch([text for _, text in batch])
    for (identity, text), ids in zip(batch, encoded, strict=True):
        size = len(text.encode())
        if len(ids) >= most:
            ids = ids[: most - 1]
            size = len(tokenizer.decode(ids).encode())
        writer.append(identity, [tokenizer.bos, *ids], size)


def _write_report(
    out: Path, config: ShardsConfig, wanted: Needles, dropped: dict[str, _Dropped]
) -> None:
    report: dict[str, Any] = {
        "ngram": config.ngram,
        "questions_too_short": wanted.ignored,
        "runs_searched": len(wanted.runs),
        "dropped": {
            domain: {
                "documents": each.documents,
                "bytes": each.bytes,
                "questions": dict(sorted(each.by_question.items())),
                "examples": each.examples,
            }
            for domain, each in dropped.items()
        },
    }
    text = json.dumps(report, indent=2, sort_keys=True) + "\n"
    (out / "report.json").write_text(text, encoding="utf-8")


def _column(domains: dict[str, dict[str, int]], name: str) -> dict[str, int]:
    return {domain: known[name] for domain, known in domains.items()}
