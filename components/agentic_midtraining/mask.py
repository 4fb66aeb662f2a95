"""Trajectories and text in one stream of sequences, and what of them carries loss.

Loss falls on what a model should produce: all of the text, and in a trajectory the assistant's own
tokens. A tool's output carries none (it is the world's, not the model's), and neither does an
action that turned out wrong: it stays visible so that the recovery after it can be learned. Both
rules are the mask of `components.agents.conversation.encode`.
"""

from __future__ import annotations

import numpy as np
import torch

from components.shards.loader import Shards
from components.training.loop import BatchSource
from components.training.loss import Batch, document_batch
from components.training.packing import EpochOrder, Packed
from components.training.seeds import derived_seed

PARTS = 1_000_000
"""Shares are counted in millionths, so that no rounding of floats moves a sequence."""


def trajectories_before(position: int, share: float) -> int:
    """Return how many of the first `position` sequences hold trajectories, evenly spread."""
    return position * round(share * PARTS) // PARTS


class MixedSequences:
    """Say which sequence stands at a position: a pure function of (seed, position)."""

    def __init__(
        self, packed: Packed, shards: Shards, *, share: float, mixture: dict[str, float], seed: int
    ) -> None:
        self.packed = packed
        self.shards = shards
        self.share = share
        self.mixture = mixture
        self.text_seed = derived_seed(seed, "text")
        self.order = EpochOrder(len(packed.ids_PS), derived_seed(seed, "trajectories"))
        self.length = packed.mask_PT.shape[1]

    def at(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Return ids [T + 1] and mask [T]."""
        before = trajectories_before(position, self.share)
        if trajectories_before(position + 1, self.share) > before:
            chosen = self.order.at(before)
            return self.packed.ids_PS[chosen], self.packed.mask_PT[chosen]
        ids_S = self.shards.sequence(
            position - before, seed=self.text_seed, length=self.length, mixture=self.mixture
        )
        return ids_S, np.ones(self.length, dtype=bool)

    def batches(self, rows_a_step: int, *, bos: int) -> BatchSource:
        """Return the batches: step s takes positions [s rows, (s + 1) rows)."""

        def batch(step: int, rows: range) -> Batch:
            found = [self.at(step * rows_a_step + row) for row in rows]
            ids_BS = np.stack([ids for ids, _ in found])
            mask_BT = np.stack([mask for _, mask in found])
            return document_batch(torch.from_numpy(ids_BS), torch.from_numpy(mask_BT), bos=bos)

        return batch
