"""How often a step is tried again, by what ended it."""

from __future__ import annotations

import random
import time

import pytest

from components.execution.launch import Ended, Reason
from flows.budget import BAD_STARTS, DISRUPTIONS, FAILURES, Budget, may_try_again


def ended(reason: Reason) -> Ended:
    return Ended(1, "", reason)


@pytest.fixture
def budget() -> Budget:
    return Budget(time.time(), 3600, chance=random.Random(0))


def tries(budget: Budget, reason: Reason) -> int:
    """Count the attempts that are granted after one kind of end."""
    count = 0
    while budget.pause(ended(reason)) is not None:
        count += 1
    return count


@pytest.mark.parametrize(
    ("reason", "count"),
    [
        (Reason.APP_ERROR, FAILURES),
        (Reason.IMAGE_PULL, BAD_STARTS),
        (Reason.LOST, BAD_STARTS),
        *((r, DISRUPTIONS) for r in (Reason.STOPPED, Reason.EVICTED, Reason.PREEMPTED)),
        (Reason.NODE_LOST, DISRUPTIONS),
        (Reason.REFUSED, 0),
        (Reason.GUARD, 0),
        (Reason.OUT_OF_MEMORY, 0),
        (Reason.KILLED, 0),
        (Reason.DEADLINE, 0),
        (Reason.DELETED, 0),
    ],
)
def test_each_kind_of_end_has_its_budget(budget, reason, count):
    assert tries(budget, reason) == count


def test_twenty_preemptions_do_not_spend_the_budget_of_failures(budget):
    for _ in range(20):
        assert budget.pause(ended(Reason.PREEMPTED)) == 0.0
    assert tries(budget, Reason.APP_ERROR) == FAILURES


def test_the_kind_of_end_follows_from_the_exit_code_where_nothing_else_is_known(budget):
    assert budget.pause(Ended(143)) == 0.0
    assert budget.pause(Ended(4)) is None


def test_a_service_that_is_away_is_waited_for_longer_and_longer(budget):
    pauses = [budget.pause(ended(Reason.SERVICE_AWAY)) for _ in range(400)]
    limits = [5.0 * 2.0**n for n in range(6)] + [300.0] * 394
    assert all(0 <= pause <= limit for pause, limit in zip(pauses, limits, strict=True))
    assert max(pauses) > 250
    again = Budget(time.time(), 3600, chance=random.Random(0))
    assert [again.pause(ended(Reason.SERVICE_AWAY)) for _ in range(400)] == pauses


def test_nothing_is_tried_after_the_step_s_time():
    late = Budget(time.time() - 61, 60)
    assert late.pause(ended(Reason.SERVICE_AWAY)) is None


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.COMPLETED])
def test_what_may_be_tried_again_is_what_has_a_budget(budget, reason):
    assert may_try_again(reason) == (budget.pause(ended(reason)) is not None)
