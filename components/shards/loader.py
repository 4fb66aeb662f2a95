"""Read shards: the sequence at a global position, as a pure function of its arguments.

A domain's tokens form one ring that is cut into pieces of the sequence's length. Epoch e of a
domain visits every piece once, in an order that (seed, domain, e) decides, and shifts the cuts by
another amount, so that a later epoch does not repeat the same sequences. World size, micro-batch
and resume never change what a position holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.contract import BadInput
from components.shards.mixture import place
from components.shards.pack import INDEX
from components.shards.shuffle import permuted

Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class Piece:
    """Say where a sequence is cut from: tokens `start` to `start + length` of a domain's ring."""

    domain: str
    epoch: int
    start: int
    length: int
    """Tokens of input; the target of the last one is the token after them."""


class Domain:
    """Hold the tokens of one domain of one split, memory-mapped."""

    def __init__(self, stem: Path, dtype: str, known: Mapping[str, int]) -> None:
        self.name = stem.name
        self.tokens = known["tokens"]
        self.documents = known["documents"]
        self.bytes = known["bytes"]
        self._stem = stem
        path = stem.with_name(f"{self.name}.tokens")
        found = path.stat().st_size // np.dtype(dtype).itemsize if path.is_file() else -1
        if found != self.tokens:
            raise BadInput(
                f"{path} holds {found} tokens, {INDEX} says {self.tokens}: the file is damaged or"
                " missing. Make the shards again."
            )
        empty = np.zeros(0, dtype=dtype)
        self.data = np.memmap(path, dtype=dtype, mode="r") if self.tokens else empty

    @cached_property
    def offsets(self) -> Tokens:
        """Where each document begins, and the end of the last one, in tokens."""
        return np.load(self._stem.with_name(f"{self.name}.offsets.npy"), mmap_mode="r")

    @cached_property
    def ids(self) -> list[str]:
        """Ids of the documents in order."""
        return self._stem.with_name(f"{self.name}.ids.txt").read_text("utf-8").splitlines()

    def ring(self, start: int, length: int) -> Tokens:
        """Return `length` tokens from `start` on, going round at the end."""
        start %= self.tokens
        pieces: list[NDArray[np.unsignedinteger]] = []
        while length > 0:
            piece = self.data[start : start + length]
            pieces.append(piece)
            length -= len(piece)
            start = 0
        return np.concatenate(pieces).astype(np.int64)


class Shards:
    """Hold the opened shards; `splits` maps split and domain to their tokens."""

    def __init__(self, path: Path) -> None:
        try:
            index = json.loads((path / INDEX).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadInput(f"{path} holds no shards: {error}. Make them again.") from error
        self.vocab_size: int = index["vocab_size"]
        self.tokenizer_digest: str = index["tokenizer_digest"]
        self.splits: dict[str, dict[str, Domain]] = {
            split: {
                name: Domain(path / split / name, index["dtype"], known)
                for name, known in domains.items()
            }
            for split, domains in index["splits"].items()
        }

    def piece(
        self,
        position: int,
        *,
        seed: int,
        length: int,
        mixture: Mapping[str, float],
        split: str = "train",
    ) -> Piece:
        """Return where the sequence at a position is cut from.

        Raises BadInput where the mixture names a domain without tokens.
        """
        name, number = place(position, mixture)
        domain = self.splits[split].get(name)
        if domain is None or not domain.tokens:
            raise BadInput(
                f"the mixture gives {mixture[name]:g} to {name}, of which the shards hold no"
                f" {split} tokens: take it out of the mixture, or add a source to the corpus."
            )
        pieces = -(-domain.tokens // length)
        epoch, inside = divmod(number, pieces)
        # Epoch 0 cuts at multiples of the length, so each token is an input exactly once; the last
        # piece is short of tokens and goes round to the first ones.
        shift = permuted(0, length, seed, name, epoch, "shift") if epoch else 0
        chosen = permuted(inside, pieces, seed, name, epoch)
        return Piece(name, epoch, (chosen * length + shift) % domain.tokens, length)

    def sequence(
        self,
        position: int,
        *,
        seed: int,
        length: int,
        mixture: Mapping[str, float],
        split: str = "train",
    ) -> Tokens:
        """Return the `length + 1` tokens at a position, int64: inputs are the first `length`."""
        found = self.piece(position, seed=seed, length=length, mixture=mixture, split=split)
        return self.splits[split][found.domain].ring(found.start, length + 1)

    def heldout(self, domain: str, max_tokens: int) -> tuple[Tokens, int]:
        """Return whole held-out documents of at most `max_tokens` tokens in all, with their bytes.

        A first document that alone is longer is cut; the bytes are its share then. Every document
        begins with `bos`.
        """
        held = self.splits["heldout"].get(domain)
        if held is None or not held.tokens:
            return np.zeros(0, np.int64), 0
        end = int(np.searchsorted(held.offsets, max_tokens, side="right")) - 1
        if end > 0:
            stop = int(held.offsets[end])
            return held.ring(0, stop), self._bytes(held, end)
        tokens = held.ring(0, max_tokens)
        return tokens, round(self._bytes(held, 1) * max_tokens / int(held.offsets[1]))

    def _bytes(self, held: Domain, documents: int) -> int:
        """Return the bytes of the first documents; exact for all, in proportion for some."""
        return round(held.bytes * int(held.offsets[documents]) / held.tokens)


def open_shards(path: Path) -> Shards:
    """Open the shards in a directory; raises BadInput where they are missing or damaged."""
    return Shards(path)
