"""How often a step is tried again: a budget for each kind of end.

What the stage did wrong is tried once more. What befell it (a pod evicted or pre-empted, a node
gone, a stop after its resume point was saved) has a budget of its own, so that a busy cluster does
not spend the one for failures. A service that is away is waited for as long as the step may take.
What would end alike again is not tried: bad configuration, a guard, too little memory, the time
limit, and a Job that somebody deleted.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field

from components.execution.launch import Ended, Reason

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 300.0
FAILURES = 1
DISRUPTIONS = 50
"""Times a step goes on after its pod was taken from it (ours)."""
BAD_STARTS = 3
"""Times for an image that cannot be pulled, and for an attempt that was lost from sight (ours)."""

_DISRUPTED = (
    Reason.STOPPED,
    Reason.EVICTED,
    Reason.PREEMPTED,
    Reason.NODE_LOST,
)
_LIMITS: dict[Reason, tuple[str, int]] = {
    Reason.APP_ERROR: ("failures", FAILURES),
    **dict.fromkeys(_DISRUPTED, ("disruptions", DISRUPTIONS)),
    Reason.IMAGE_PULL: ("bad starts", BAD_STARTS),
    Reason.LOST: ("bad starts", BAD_STARTS),
}
"""Purse and size of the purse for each kind of end that is tried again at once."""


@dataclass
class Budget:
    """Count what one step has spent; `started` in UNIX seconds, `seconds` its time limit."""

    started: float
    seconds: float
    spent: Counter[str] = field(default_factory=Counter[str])
    chance: random.Random = field(default_factory=random.Random)

    def pause(self, ended: Ended) -> float | None:
        """Return how long to wait before the next attempt, in seconds; None to give up."""
        if time.time() - self.started > self.seconds:
            return None
        if ended.reason is Reason.SERVICE_AWAY:
            return self._wait_longer()
        purse, limit = _LIMITS.get(ended.reason, ("", 0))
        if not limit:
            return None
        self.spent[purse] += 1
        return 0.0 if self.spent[purse] <= limit else None

    def _wait_longer(self) -> float:
        """Draw a pause from a range that doubles each time, so that steps do not ask in step."""
        self.spent["away"] += 1
        longest = FIRST_PAUSE_SECONDS * 2.0 ** min(self.spent["away"] - 1, 20)
        return self.chance.uniform(0.0, min(longest, LONGEST_PAUSE_SECONDS))


def may_try_again(reason: Reason) -> bool:
    """Return whether a step that came to such an end is tried again at all."""
    return reason is Reason.SERVICE_AWAY or reason in _LIMITS
