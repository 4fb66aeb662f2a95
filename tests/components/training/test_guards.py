from __future__ import annotations

import json
import math

from components.training.guards import Guard, GuardSettings


def steady(count: int = 40) -> Guard:
    guard = Guard()
    for step in range(count):
        assert guard.judge(3.0 + 0.01 * (step % 5), 1.0) == "apply"
    return guard


def test_what_is_not_finite_is_left_out_and_never_enters_the_window() -> None:
    guard = steady()
    for loss, norm in ((math.nan, 1.0), (math.inf, 1.0), (3.0, math.nan), (3.0, math.inf)):
        assert guard.judge(loss, norm) == "skip"
    assert all(math.isfinite(loss) for loss in guard.losses)
    assert guard.judge(3.0, 1.0) == "apply"
    assert (guard.skipped, guard.bad_steps) == (4, 0)


def test_a_spike_is_left_out_even_after_one_that_was_not_finite() -> None:
    guard = steady()
    assert guard.judge(math.nan, 1.0) == "skip"
    assert guard.judge(9.0, 1.0) == "skip"
    assert guard.judge(3.3, 1.0) == "apply"
    assert guard.judge(0.1, 1.0) == "apply"


def test_a_young_window_calls_nothing_a_spike() -> None:
    guard = steady(10)
    assert guard.judge(50.0, 1.0) == "apply"


def test_goes_back_three_times_and_then_gives_up() -> None:
    guard = steady()
    patience = guard.settings.patience
    for _ in range(guard.settings.rollbacks):
        verdicts = [guard.judge(math.nan, 1.0) for _ in range(patience)]
        assert verdicts == ["skip"] * (patience - 1) + ["rollback"]
        guard.went_back([3.0] * 40)
    verdicts = [guard.judge(math.nan, 1.0) for _ in range(patience)]
    assert verdicts[-1] == "stop"


def test_state_survives_json_exactly() -> None:
    guard = steady()
    guard.judge(1 / 3, 1.0)
    guard.judge(math.nan, 1.0)
    other = Guard()
    other.load(json.loads(json.dumps(guard.state())))
    assert other == guard
    assert other.recent_loss() == guard.recent_loss()


def test_the_window_is_bounded() -> None:
    guard = Guard(GuardSettings(window=8))
    for _ in range(30):
        guard.judge(1.0, 1.0)
    assert len(guard.losses) == 8
    assert math.isnan(Guard().recent_loss())
