from __future__ import annotations

import random
import time

import pytest

from components.execution.launch import Reason
from flows.budget import (
    DISRUPTIONS,
    FAILURES,
    MISHAPS,
    Budget,
    full_jitter,
    may_try_again,
)

DISRUPTED = [Reason.STOPPED, Reason.EVICTED, Reason.PREEMPTED, Reason.NODE_LOST]
MISHAP = [Reason.IMAGE_PULL, Reason.LOST]
TRIED_AGAIN = {Reason.APP_ERROR, Reason.SERVICE_AWAY, *DISRUPTED, *MISHAP}


def budget(seconds: float = 3600, age: float = 0) -> Budget:
    return Budget(time.time() - age, seconds, random.Random(1))


def pauses(reason: Reason, count: int) -> list[float | None]:
    spent = budget()
    return [spent.pause(reason) for _ in range(count)]


def test_a_failure_at_run_time_is_tried_once_more():
    assert pauses(Reason.APP_ERROR, FAILURES + 1) == [0.0, None]


def test_a_service_that_is_away_is_waited_for_as_long_as_the_step_may_take():
    found = pauses(Reason.SERVICE_AWAY, 200)
    bounds = [min(300.0, 5.0 * 2.0**n) for n in range(200)]
    assert all(
        pause is not None and 0 <= pause <= bound
        for pause, bound in zip(found, bounds, strict=True)
    )
    late = budget(seconds=60, age=61)
    assert late.pause(Reason.SERVICE_AWAY) is None


def test_pauses_are_spread_over_the_whole_range():
    draws = random.Random(7)
    found = [full_jitter(3, draws) for _ in range(1000)]
    assert min(found) < 2 < 38 < max(found) <= 40
    assert found == [full_jitter(3, again) for again in [random.Random(7)] for _ in range(1000)]
    assert max(full_jitter(10_000, draws) for _ in range(1000)) <= 300


@pytest.mark.parametrize("reason", DISRUPTED)
def test_a_disruption_is_no_failure(reason):
    spent = budget()
    assert [spent.pause(reason) for _ in range(DISRUPTIONS)] == [0.0] * DISRUPTIONS
    assert spent.pause(Reason.APP_ERROR) == 0.0
    assert spent.pause(reason) is None


def test_disruptions_of_every_kind_share_one_budget():
    spent = budget()
    for count in range(DISRUPTIONS):
        assert spent.pause(DISRUPTED[count % 4]) == 0.0
    assert spent.pause(Reason.NODE_LOST) is None


@pytest.mark.parametrize("reason", MISHAP)
def test_a_mishap_is_waited_for_a_few_times(reason):
    found = pauses(reason, MISHAPS + 1)
    assert None not in found[:MISHAPS]
    assert found[MISHAPS] is None


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in TRIED_AGAIN])
def test_other_ends_are_final(reason):
    assert budget().pause(reason) is None
    assert not may_try_again(reason)


@pytest.mark.parametrize("reason", sorted(TRIED_AGAIN))
def test_nothing_is_tried_after_the_step_s_time(reason):
    assert may_try_again(reason)
    assert budget(seconds=60, age=61).pause(reason) is None
