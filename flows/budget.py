"""What a step may spend on trying again: a budget for each kind of end.

| end | tried again | pause |
|---|---|---|
| app error | once | none |
| service away | for as long as the step's time lasts | full jitter |
| stopped, evicted, pre-empted, node lost | `DISRUPTIONS` times in all | none |
| image pull, lost | `MISHAPS` times in all | full jitter |
| refused, guard, killed, out of memory, unschedulable, deadline, deleted | never | |

A disruption says nothing about the step, and what it had saved is kept, so it does not count as a
failure. Somebody who deletes a Job means it. After the step's time nothing is tried any more.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field

from components.execution.launch import Reason

FAILURES = 1
DISRUPTIONS = 100
"""Far more than the pre-emptions of a busy day; a step that never gets on ends nevertheless."""
MISHAPS = 3
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 300.0

_KINDS = {
    Reason.APP_ERROR: "failure",
    Reason.SERVICE_AWAY: "away",
    Reason.STOPPED: "disruption",
    Reason.EVICTED: "disruption",
    Reason.PREEMPTED: "disruption",
    Reason.NODE_LOST: "disruption",
    Reason.IMAGE_PULL: "mishap",
    Reason.LOST: "mishap",
}
_LIMITS = {"failure": FAILURES, "disruption": DISRUPTIONS, "mishap": MISHAPS}
_PATIENT = {"away", "mishap"}
"""Kinds of end after which it is worth waiting."""


@dataclass
class Budget:
    """Count what a step has spent on each kind of end; times in seconds."""

    started: float
    """When the step began, in UNIX seconds."""
    seconds: float
    """How long the step may take, with all its attempts."""
    draws: random.Random = field(default_factory=random.Random)
    spent: Counter[str] = field(default_factory=Counter[str])

    def pause(self, reason: Reason) -> float | None:
        """Return how long to wait before the next attempt after such an end; None to give up."""
        kind = _KINDS.get(reason)
        if kind is None or time.time() - self.started > self.seconds:
            return None
        self.spent[kind] += 1
        count = self.spent[kind]
        if count > _LIMITS.get(kind, count):
            return None
        return full_jitter(count - 1, self.draws) if kind in _PATIENT else 0.0


def may_try_again(reason: Reason) -> bool:
    """Return whether a step that came to such an end is tried again at all."""
    return reason in _KINDS


def full_jitter(failures: int, draws: random.Random) -> float:
    """Draw a pause in seconds after so many earlier failures, uniformly between zero and a bound
    that doubles, so that those who wait for one service do not come back together.
    """
    bound = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 16))
    return draws.uniform(0.0, bound)
