"""The stage `corpus`: read the sources, clean, drop what fails a rule or repeats, split, write.

Every source is read in an order decided by hash, so `max_bytes` takes a fair sample and changing
one source leaves the choice from the others alone. Of duplicates, the document of the earlier
source stays. The split is by hash of the normalised text, after deduplication: neither a document
nor a near copy of it stands on both sides.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.compute
from pyarrow import parquet

from components.artifacts.types import DOMAINS
from components.contract import BadInput, StageContext, Stopped
from components.corpus.config import CorpusConfig, CorpusFacts, CorpusInputs, Source, label
from components.corpus.deduplicate import exact_duplicates, exact_key, near_duplicates
from components.corpus.document import Document, rank, split_long
from components.corpus.filters import RULES, apply_rules, clean_text, long_enough, text_bytes
from components.corpus.sources import FALLBACK, documents, revisions

pc: Any = pyarrow.compute  # its functions are made at import, unseen by type checkers

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("title", pa.string()),
        ("text", pa.string()),
        ("kind", pa.string()),
        ("references", pa.list_(pa.string())),
    ]
)
_READ = pa.schema([("domain", pa.string()), ("key", pa.string()), *SCHEMA])
_BATCH_CHARACTERS = 1 << 18
_ROW_GROUP = 4096
SPLITS = ("train", "heldout")


@dataclass
class _Tally:
    """Count documents and bytes of one source, by reason where they were dropped."""

    read: list[int] = field(default_factory=lambda: [0, 0])
    dropped: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    def drop(self, reason: str, count: int, size: int) -> None:
        before = self.dropped.setdefault(reason, [0, 0])
        before[0] += count
        before[1] += size


def run(config: CorpusConfig, inputs: CorpusInputs, context: StageContext) -> CorpusFacts:
    """Write `{train,heldout}/{domain}.parquet` and `report.json`.

    Raises BadInput for a source that is empty or damaged, or where nothing is left.
    """
    held = dict(context.revisions) or revisions(config)
    tallies = {label(source): _Tally() for source in config.sources}
    table = pa.Table.from_batches(_all_batches(config, held, context, tallies), _READ)
    table = _without(table, exact_duplicates(table["key"].to_pylist()), "duplicate", tallies)
    if config.near_duplicates is not None and table.num_rows:
        near = near_duplicates(table["text"], config.near_duplicates, context.scratch / "bands")
        table = _without(table, near, "near_duplicate", tallies)
    if not table.num_rows:
        raise BadInput(
            "nothing is left of the corpus: every document was dropped as"
            f" {', '.join(sorted(_reasons(tallies)))}.\nLoosen corpus.quality, or add a source."
        )
    facts = _write(table, config, context, tallies, held)
    context.journal.progress(len(config.sources) + 1, len(config.sources) + 1, "sources")
    return facts


def _all_batches(
    config: CorpusConfig,
    held: Mapping[str, str],
    context: StageContext,
    tallies: dict[str, _Tally],
) -> Iterator[pa.RecordBatch]:
    for number, source in enumerate(config.sources):
        context.journal.progress(number, len(config.sources) + 1, "sources")
        revision = held[label(source)]
        if revision.startswith(FALLBACK):
            context.journal.event("fallback", source=label(source), revision=revision)
        found = documents(source, revision, seed=config.seed, scratch=context.scratch)
        for batch in _kept_batches(source, found, config, tallies[label(source)]):
            yield batch
            if context.stop_requested():
                raise Stopped
    context.journal.progress(len(config.sources), len(config.sources) + 1, "sources")


def _kept_batches(
    source: Source, found: Iterator[Document], config: CorpusConfig, tally: _Tally
) -> Iterator[pa.RecordBatch]:
    """Yield what passes the rules, until the source has given its bytes."""
    rules = {"short": long_enough(source.min_characters), **RULES}
    left = source.max_bytes
    parts = (part for document in found for part in split_long(document, source.max_characters))
    while (left is None or left > 0) and (some := _some(parts, left)):
        batch = _batch(source, some)
        tally.read[0] += batch.num_rows
        tally.read[1] += text_bytes(batch)
        batch, dropped = apply_rules(batch, rules, config.quality)
        for reason, (count, size) in dropped.items():
            tally.drop(reason, count, size)
        if left is not None:
            whole = batch
            batch = _within(batch, left)
            left -= text_bytes(batch) if batch.num_rows == whole.num_rows else left
            if over := whole.num_rows - batch.num_rows:
                tally.drop("over_limit", over, text_bytes(whole) - text_bytes(batch))
        yield batch


def _some(parts: Iterator[Document], left: int | None) -> list[Document]:
    """Return the next documents: a full batch, or about as much as is still wanted."""
    most = _BATCH_CHARACTERS if left is None else min(left, _BATCH_CHARACTERS)
    some: list[Document] = []
    size = 0
    while size < most and (document := next(parts, None)) is not None:
        some.append(document)
        size += len(document.text)
    return some


def _batch(source: Source, some: list[Document]) -> pa.RecordBatch:
    texts = [clean_text(document.text) for document in some]
    return pa.RecordBatch.from_pydict(
        {
            "domain": [source.domain] * len(some),
            "key": [exact_key(text) for text in texts],
            "id": [sha256(text.encode()).hexdigest()[:16] for text in texts],
            "source": [label(source)] * len(some),
            "title": [" ".join(document.title.split()) for document in some],
            "text": texts,
            "kind": [document.kind for document in some],
            "references": [list(document.references) for document in some],
        },
        _READ,
    )


def _within(batch: pa.RecordBatch, most: int) -> pa.RecordBatch:
    """Return the first documents of a batch that together hold at most `most` bytes."""
    total = pc.cumulative_sum(pc.cast(pc.binary_length(batch["text"]), pa.int64()))
    return batch.filter(pc.less_equal(total, most))


def _without(
    table: pa.Table, positions: list[int], reason: str, tallies: dict[str, _Tally]
) -> pa.Table:
    """Return the table without the rows at `positions`, counted as dropped."""
    lost = table.take(pa.array(positions, pa.int64()))
    sizes = pc.binary_length(lost["text"]).to_pylist()
    for source, size in zip(lost["source"].to_pylist(), sizes, strict=True):
        tallies[source].drop(reason, 1, size)
    gone = set(positions)
    kept = [position for position in range(table.num_rows) if position not in gone]
    return table.take(pa.array(kept, pa.int64()))


def _heldout_keys(table: pa.Table, config: CorpusConfig) -> set[str]:
    """Return the keys held out: those with the lowest hash, one a domain at the least."""
    chosen: set[str] = set()
    limit = f"{int(config.heldout_share * 2**64):016x}"
    for domain in DOMAINS:
        keys = table.filter(pc.equal(table["domain"], domain))["key"].to_pylist()
        places = {key: rank(config.seed, f"split:{key}") for key in keys}
        below = [key for key, place in places.items() if place[:16] < limit]
        if not below and len(keys) > 1:
            below = [min(keys, key=places.__getitem__)]
        chosen.update(below)
    return chosen


def _write(
    table: pa.Table,
    config: CorpusConfig,
    context: StageContext,
    tallies: dict[str, _Tally],
    held: Mapping[str, str],
) -> CorpusFacts:
    heldout = pc.is_in(table["key"], pa.array(sorted(_heldout_keys(table, config)), pa.string()))
    masks = {"train": pc.invert(heldout), "heldout": heldout}
    counts: dict[str, dict[str, int]] = {split: {} for split in SPLITS}
    sizes: dict[str, dict[str, int]] = {split: {} for split in SPLITS}
    for split in SPLITS:
        (context.out / split).mkdir(parents=True, exist_ok=True)
        for domain in DOMAINS:
            rows = table.filter(pc.and_(masks[split], pc.equal(table["domain"], domain)))
            counts[split][domain] = rows.num_rows
            sizes[split][domain] = text_bytes(rows)
            path = context.out / split / f"{domain}.parquet"
            _write_parquet(rows.select(SCHEMA.names).sort_by("id"), str(path))
    report = {
        "sources": [_report(source, tallies, held, table) for source in config.sources],
        "documents": counts,
        "bytes": sizes,
    }
    text = json.dumps(report, indent=2, sort_keys=True) + "\n"
    (context.out / "report.json").write_text(text, encoding="utf-8")
    return CorpusFacts(
        documents=counts["train"],
        bytes=sizes["train"],
        heldout_documents=counts["heldout"],
        dropped=_reasons(tallies),
        fallbacks=[name for name, each in held.items() if each.startswith(FALLBACK)],
    )


def _write_parquet(rows: pa.Table, path: str) -> None:
    """Write parquet with fixed settings, so that equal rows give equal bytes."""
    whole = pa.Table.from_batches(rows.combine_chunks().to_batches(), SCHEMA)
    settings: dict[str, Any] = {
        "row_group_size": _ROW_GROUP,
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": ["source", "kind"],
        "version": "2.6",
    }
    parquet.write_table(whole, path, **settings)


def _report(
    source: Source, tallies: dict[str, _Tally], held: Mapping[str, str], table: pa.Table
) -> dict[str, Any]:
    name = label(source)
    kept = table.filter(pc.equal(table["source"], name))
    tally = tallies[name]
    return {
        "source": name,
        "domain": source.domain,
        "revision": held[name],
        "fallback": held[name].startswith(FALLBACK),
        "read": {"documents": tally.read[0], "bytes": tally.read[1]},
        "kept": {"documents": kept.num_rows, "bytes": text_bytes(kept)},
        "dropped": {
            reason: {"documents": count, "bytes": size}
            for reason, (count, size) in sorted(tally.dropped.items())
        },
    }


def _reasons(tallies: Mapping[str, _Tally]) -> dict[str, int]:
    found: dict[str, int] = {}
    for tally in tallies.values():
        for reason, (count, _) in tally.dropped.items():
            found[reason] = found.get(reason, 0) + count
    return dict(sorted(found.items()))
