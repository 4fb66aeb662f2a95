"""Find weights that changed in memory although no update was made, and name the rank.

Data parallelism keeps equal weights on all ranks, so a flipped bit on one of them would stay
unnoticed: its gradients flow into everybody's. Each rank sums its weights after an update and again
before the next one, and all compare both: the first shows who changed between updates, the second
that an update itself went wrong. A single rank has nobody who would train on its error unseen, and
is not watched.

A sum runs over the weights read as integers: one flipped bit always changes it, and it costs one
pass over the memory. Left out: the optimizer's state, and flips that cancel each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import torch

from components.contract import StageContext, StageFailure
from components.training.parallel import from_each_rank

_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class WeightsChanged(StageFailure):
    """Report weights that are not what the updates made of them; another attempt goes on from the
    last resume point.
    """

    exit_code = 1


class WeightWatch:
    """Watch the weights of this rank, and compare them with the others'."""

    def __init__(self, weights: Iterable[torch.Tensor], context: StageContext) -> None:
        self._weights = list(weights) if context.world_size > 1 else []
        self._context = context
        self._sum = 0

    def updated(self) -> None:
        """Remember the weights as they are after an update, or after they were loaded."""
        self._sum = weight_sum(self._weights)

    def sound(self) -> bool:
        """Return whether this rank's weights are those of its last update."""
        return weight_sum(self._weights) == self._sum

    def check(self, step: int) -> None:
        """Compare all ranks before the update of `step`; each of them calls it.

        Raises WeightsChanged on all ranks alike.
        """
        if self._context.world_size == 1:
            return
        mine = torch.tensor([self._sum, weight_sum(self._weights)])
        found = from_each_rank(mine, self._context)
        guilty = suspects([(int(before), int(now)) for before, now in found])
        if guilty:
            ranks = ", ".join(map(str, guilty))
            raise WeightsChanged(
                f"step {self._context.step}: before the update of optimizer step {step} the "
                f"weights of rank {ranks} are not what the updates made of them.\n"
                "Memory there is not sound. The next attempt goes on from the last resume point; "
                "if it happens again, keep the step off that machine."
            )


def weight_sum(weights: Iterable[torch.Tensor]) -> int:
    """Return the sum of all weights read as integers."""
    return sum(
        int(weight.detach().view(_INTEGERS[weight.element_size()]).sum()) for weight in weights
    )


def suspects(sums: Sequence[tuple[int, int]]) -> list[int]:
    """Return the ranks to blame, given each one's sum after the last update and now.

    Those that changed in between, else those that differ from most others; all of them where no sum
    has a majority.
    """
    changed = [rank for rank, (before, now) in enumerate(sums) if before != now]
    if changed:
        return changed
    ((most, count),) = Counter(now for _, now in sums).most_common(1)
    if 2 * count <= len(sums):
        return list(range(len(sums)))
    return [rank for rank, (_, now) in enumerate(sums) if now != most]
