"""Write tokens of documents one after the other, with an index of where each begins.

Per split and domain: `<domain>.tokens` (little-endian uint16 below 65,536 ids, else uint32),
`<domain>.offsets.npy` (int64, one more than documents, in tokens) and `<domain>.ids.txt`. Each
document begins with the tokenizer's `bos`, which separates it from the one before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

INDEX = "index.json"


def token_type(vocab_size: int) -> str:
    """Return the numpy name of the smallest type that holds every id."""
    return "<u2" if vocab_size <= 1 << 16 else "<u4"


class DomainWriter:
    """Append documents of one domain; `close` writes the index files."""

    def __init__(self, directory: Path, domain: str, dtype: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._stem = directory / domain
        self._dtype = dtype
        self._tokens = self._stem.with_name(f"{domain}.tokens").open("wb")
        self._offsets = [0]
        self._ids: list[str] = []
        self.bytes = 0

    def append(self, identity: str, ids: list[int], text_bytes: int) -> None:
        """Add one document of `text_bytes` UTF-8 bytes."""
        self._tokens.write(np.asarray(ids, dtype=self._dtype).tobytes())
        self._offsets.append(self._offsets[-1] + len(ids))
        self._ids.append(identity)
        self.bytes += text_bytes

    def close(self) -> dict[str, int]:
        """Write offsets and ids; return what the index says about the domain."""
        self._tokens.close()
        name = self._stem.name
        offsets = np.asarray(self._offsets, dtype="<i8")
        np.save(self._stem.with_name(f"{name}.offsets.npy"), offsets)
        listed = "".join(f"{identity}\n" for identity in self._ids)
        self._stem.with_name(f"{name}.ids.txt").write_text(listed, encoding="utf-8")
        return {"documents": len(self._ids), "tokens": self._offsets[-1], "bytes": self.bytes}


def write_index(
    out: Path,
    splits: Mapping[str, Mapping[str, Mapping[str, int]]],
    *,
    vocab_size: int,
    tokenizer_digest: str,
) -> None:
    """Write `index.json`, which `open_shards` reads."""
    index: dict[str, Any] = {
        "dtype": token_type(vocab_size),
        "splits": splits,
        "tokenizer_digest": tokenizer_digest,
        "vocab_size": vocab_size,
    }
    text = json.dumps(index, indent=2, sort_keys=True) + "\n"
    (out / INDEX).write_text(text, encoding="utf-8")


def write_shards(
    out: Path,
    texts: Mapping[str, Mapping[str, Iterable[str]]],
    tokenizer: Any,
) -> None:
    """Write shards of texts by split and domain; for tests and small experiments."""
    splits: dict[str, dict[str, dict[str, int]]] = {}
    for split, domains in texts.items():
        splits[split] = {}
        for domain, found in domains.items():
            writer = DomainWriter(out / split, domain, token_type(tokenizer.vocab_size))
            for number, text in enumerate(found):
                ids = [tokenizer.bos, *tokenizer.encode(text)]
                writer.append(f"{number:016x}", ids, len(text.encode()))
            splits[split][domain] = writer.close()
    write_index(out, splits, vocab_size=tokenizer.vocab_size, tokenizer_digest=tokenizer.digest)
