"""Whole conversations packed into sequences of one length, and the order they are seen in.

No conversation is cut: best fit, in a shuffled order so that a sequence mixes families. The rest of
a sequence is padding without loss.

Shapes: P packed sequences, S tokens of one, T = S - 1 predictions.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Example = tuple[list[int], list[int]]
"""Token ids, and a mask that is 1 on the tokens that carry loss."""


@dataclass(frozen=True)
class Packed:
    """Hold packed sequences; `mask_PT` is true where the predicted token carries loss."""

    ids_PS: np.ndarray
    mask_PT: np.ndarray
    examples: int
    too_long: int
    tokens: int
    """Tokens of the examples, padding left out."""

    @property
    def padding_share(self) -> float:
        """Share of padding in the sequences."""
        return 1 - self.tokens / self.ids_PS.size if self.ids_PS.size else 0.0

    @property
    def loss_tokens(self) -> int:
        """Tokens that carry loss in one pass."""
        return int(self.mask_PT.sum())


def pack(examples: Sequence[Example], size: int, *, padding: int, seed: int) -> Packed:
    """Pack examples into sequences of `size` tokens; those that are longer are left out."""
    order = np.random.default_rng(seed).permutation(len(examples))
    fitting = [int(index) for index in order if len(examples[int(index)][0]) <= size]
    sequences = _best_fit([(index, len(examples[index][0])) for index in fitting], size)
    ids_PS = np.full((len(sequences), size), padding, dtype=np.int64)
    mask_PS = np.zeros((len(sequences), size), dtype=bool)
    for row, members in enumerate(sequences):
        at = 0
        for index in members:
            ids, mask = examples[index]
            ids_PS[row, at : at + len(ids)] = ids
            mask_PS[row, at : at + len(ids)] = mask
            at += len(ids)
    tokens = sum(len(examples[index][0]) for index in fitting)
    too_long = len(examples) - len(fitting)
    return Packed(ids_PS, mask_PS[:, 1:].copy(), len(fitting), too_long, tokens)


def _best_fit(lengths: Sequence[tuple[int, int]], size: int) -> list[list[int]]:
    """Give each item to the fullest sequence it fits into, or to a new one."""
    sequences: list[list[int]] = []
    by_room: dict[int, list[int]] = defaultdict(list)
    rooms: list[int] = []
    for index, length in lengths:
        at = bisect_left(rooms, length)
        if at == len(rooms):
            chosen, room = len(sequences), size
            sequences.append([])
        else:
            room = rooms[at]
            chosen = by_room[room].pop()
            if not by_room[room]:
                rooms.pop(at)
        sequences[chosen].append(index)
        left = room - length
        if not by_room[left]:
            insort(rooms, left)
        by_room[left].append(chosen)
    return sequences


class EpochOrder:
    """Say which of `count` items stands at a position: a new order in every pass over them."""

    def __init__(self, count: int, seed: int) -> None:
        assert count > 0, "nothing to order"
        self.count = count
        self.seed = seed
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def at(self, position: int) -> int:
        """Return the item at `position`; a pure function of count, seed and position."""
        epoch, place = divmod(position, self.count)
        if epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(self.count)
            self._epoch = epoch
        return int(self._order[place])
