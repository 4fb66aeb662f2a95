"""The stage `shards`: training text as memory-mapped tokens, cleaned of test questions.

Each domain of each split is one stream of documents, every one opened by the begin-of-text token.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from components.artifacts.types import DOMAINS
from components.contract import StageContext
from components.shards.config import ShardsConfig, ShardsFacts, ShardsInputs
from components.shards.decontaminate import Contaminants
from components.tokenizer.contract import TextTokenizer, load_tokenizer

BATCH = 512
"""Documents that are encoded together."""


def run(config: ShardsConfig, inputs: ShardsInputs, context: StageContext) -> ShardsFacts:
    """Write `{split}/{domain}.tokens` with offsets, byte counts and ids, and `index.json`."""
    tokenizer = load_tokenizer(inputs.tokenizer.path)
    contaminants = _contaminants(inputs.tasks.path / "contaminants.jsonl", config)
    dtype = np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
    index = {
        "dtype": dtype.str,
        "vocab_size": tokenizer.vocab_size,
        "tokenizer_digest": tokenizer.digest,
        "splits": {"train": {}, "heldout": {}},
    }
    dropped: dict[str, int] = {}
    for part, (split, domain) in enumerate((s, d) for s in ("train", "heldout") for d in DOMAINS):
        documents = _documents(inputs.corpus.documents(split, domain))
        if split == "train":
            kept = [(name, text) for name, text in documents if not contaminants.occur_in(text)]
            dropped[domain] = len(documents) - len(kept)
            documents = kept
        writer = _Writer(context.out / split, domain, dtype)
        for ids, tokens, size in _encode(documents, tokenizer, config.max_document_tokens):
            writer.add(ids, tokens, size)
        index["splits"][split][domain] = writer.close()
        context.journal.progress(part + 1, 2 * len(DOMAINS), "domains")
    (context.out / "index.json").write_text(json.dumps(index, indent=1, sort_keys=True))
    train, heldout = index["splits"]["train"], index["splits"]["heldout"]
    return ShardsFacts(
        tokens={domain: train[domain]["tokens"] for domain in DOMAINS},
        heldout_tokens={domain: heldout[domain]["tokens"] for domain in DOMAINS},
        documents={domain: train[domain]["documents"] for domain in DOMAINS},
        contaminated=dropped,
    )


def _contaminants(path: Path, config: ShardsConfig) -> Contaminants:
    with path.open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    return Contaminants(texts, ngram=config.ngram, shortest=config.shortest_match)


def _documents(path: Path) -> list[tuple[str, str]]:
    table = pq.read_table(path, columns=["id", "text"])
    ids: list[str] = table["id"].to_pylist()
    texts: list[str] = table["text"].to_pylist()
    return list(zip(ids, texts, strict=True))


def _encode(
    documents: Iterable[tuple[str, str]], tokenizer: TextTokenizer, longest: int
) -> Iterator[tuple[str, list[int], int]]:
    documents = list(documents)
    for start in range(0, len(documents), BATCH):
        batch = documents[start : start + BATCH]
        encoded = tokenizer.encode_batch([text for _, text in batch])
        for (name, text), ids in zip(batch, encoded, strict=True):
            size = len(text.encode())
            if len(ids) > longest:
                ids = ids[:longest]
                size = len(tokenizer.decode(ids).encode())
            yield name, [tokenizer.bos, *ids], size


class _Writer:
    """Append documents to one stream and its index files."""

    def __init__(self, directory: Path, domain: str, dtype: np.dtype[np.generic]) -> None:
        directory.mkdir(exist_ok=True)
        self._stem = directory / domain
        self._dtype = dtype
        self._offsets, self._sizes, self._names = [0], [0][:0], [""][:0]
        self._file = self._stem.with_suffix(".tokens").open("wb")

    def add(self, name: str, tokens: list[int], size: int) -> None:
        self._file.write(np.array(tokens, dtype=self._dtype).tobytes())
        self._offsets.append(self._offsets[-1] + len(tokens))
        self._sizes.append(size)
        self._names.append(name)

    def close(self) -> dict[str, int]:
        self._file.close()
        np.save(f"{self._stem}.offsets.npy", np.array(self._offsets, dtype="<i8"))
        np.save(f"{self._stem}.bytes.npy", np.array(self._sizes, dtype="<i8"))
        text = "".join(f"{name}\n" for name in self._names)
        Path(f"{self._stem}.ids.txt").write_text(text, encoding="utf-8")
        return {
            "documents": len(self._names),
            "tokens": self._offsets[-1],
            "bytes": sum(self._sizes),
        }
