"""Read token shards: training sequences by position, and held-out text.

The sequence at a position is a pure function of (seed, length, mixture, position). A domain's
tokens are one stream, cut into windows of `length`; an epoch visits every window once, in an order
drawn from (seed, domain, epoch), and shifts the cuts, so that window edges fall elsewhere next
time. Windows overlap by the one token that is only a target.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contract import BadInput
from components.shards.mixture import domain_at

Tokens = NDArray[np.int64]


class Shards:
    """Open the shards of a directory; tokens stay memory-mapped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.index: dict[str, Any] = json.loads((path / "index.json").read_text())
        self.vocab_size: int = self.index["vocab_size"]
        self.tokenizer_digest: str = self.index["tokenizer_digest"]
        self._streams: dict[tuple[str, str], NDArray[Any]] = {}
        self._orders: dict[tuple[int, str, int, int, int], Tokens] = {}

    def tokens(self, split: str, domain: str) -> int:
        """Return how many tokens a domain of a split has."""
        return int(self.index["splits"][split][domain]["tokens"])

    def sequence(
        self,
        position: int,
        *,
        seed: int,
        length: int,
        mixture: Mapping[str, float],
        split: str = "train",
    ) -> Tokens:
        """Return the `length + 1` tokens at a position: inputs and, shifted by one, targets.

        Raises BadInput where the mixture names a domain with fewer than `length + 1` tokens.
        """
        domain, turn = domain_at(position, mixture)
        stream = self._stream(split, domain)
        if len(stream) <= length:
            raise BadInput(
                f"the domain {domain} has {len(stream)} tokens, fewer than one sequence of "
                f"{length + 1}: add sources of that domain, or give it no share in the mixture"
            )
        shifted = length if len(stream) > 2 * length else 1
        windows = (len(stream) - shifted) // length
        epoch, turn = divmod(turn, windows)
        order = self._order(seed, domain, epoch, windows)
        offset = self._draw(seed, domain, epoch, "offset").integers(shifted)
        start = int(offset) + int(order[turn]) * length
        return stream[start : start + length + 1].astype(np.int64)

    def heldout(self, domain: str, max_tokens: int) -> tuple[Tokens, int]:
        """Return held-out tokens of a domain, whole documents up to `max_tokens`, and their bytes.

        A first document longer than that is cut, and its bytes are scaled by the share kept.
        """
        offsets = np.load(self.path / "heldout" / f"{domain}.offsets.npy")
        sizes = np.load(self.path / "heldout" / f"{domain}.bytes.npy")
        documents = int(np.searchsorted(offsets, max_tokens, side="right")) - 1
        stream = self._stream("heldout", domain)
        if documents == 0 and len(stream):
            share = max_tokens / float(offsets[1])
            return stream[:max_tokens].astype(np.int64), round(float(sizes[0]) * share)
        end = int(offsets[documents])
        return stream[:end].astype(np.int64), int(sizes[:documents].sum())

    def _stream(self, split: str, domain: str) -> NDArray[Any]:
        if (split, domain) not in self._streams:
            if domain not in self.index["splits"][split]:
                known = ", ".join(self.index["splits"][split])
                raise BadInput(f"the shards have no domain {domain!r}; domains: {known}")
            path = self.path / split / f"{domain}.tokens"
            dtype = np.dtype(self.index["dtype"])
            empty = path.stat().st_size == 0
            stream = np.zeros(0, dtype) if empty else np.memmap(path, dtype=dtype, mode="r")
            self._streams[split, domain] = stream
        return self._streams[split, domain]

    def _order(self, seed: int, domain: str, epoch: int, windows: int) -> Tokens:
        key = (seed, domain, epoch, windows, 0)
        if key not in self._orders:
            if len(self._orders) > 8:
                self._orders.clear()
            self._orders[key] = self._draw(seed, domain, epoch, "order").permutation(windows)
        return self._orders[key]

    def _draw(self, seed: int, domain: str, epoch: int, purpose: str) -> np.random.Generator:
        name = f"{seed}/{domain}/{epoch}/{purpose}".encode()
        return np.random.Generator(np.random.PCG64(list(hashlib.sha256(name).digest())))


def open_shards(path: Path) -> Shards:
    """Open the token shards in a directory."""
    return Shards(path)
