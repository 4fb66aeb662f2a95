"""Rewards of a group turned into advantages, in the manner of GRPO (Shao et al. 2024, arXiv
2402.03300, eq. 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

SPREAD = 1e-6
"""Rewards closer together than this are equal: their group teaches nothing."""


def group_advantages(
    rewards: Sequence[float], valid: Sequence[bool], *, normalize: bool = True
) -> list[float] | None:
    """Centre the rewards of one group's valid rollouts and, if wished, divide by their standard
    deviation.

    Returns one advantage a rollout, 0 for an invalid one; None where fewer than two rollouts are
    valid or all valid rewards are equal, so that the group is to be dropped. The deviation is the
    population's (ours: with 8 rollouts the sample's would only rescale the learning rate).
    """
    if len(rewards) != len(valid):
        raise ValueError(f"{len(rewards)} rewards but {len(valid)} validity flags")
    kept = [reward for reward, ok in zip(rewards, valid, strict=True) if ok]
    if len(kept) < 2 or max(kept) - min(kept) < SPREAD:
        return None
    mean = math.fsum(kept) / len(kept)
    scale = 1.0
    if normalize:
        scale = math.sqrt(math.fsum((reward - mean) ** 2 for reward in kept) / len(kept))
    return [
        (reward - mean) / scale if ok else 0.0 for reward, ok in zip(rewards, valid, strict=True)
    ]
