from __future__ import annotations

import signal
import time

import pytest

from components.execution.exit_codes import ExitCode
from flows.attempts import FAILURES, PREEMPTIONS, Budget, Interrupted


def test_a_failure_at_run_time_is_tried_once_more():
    budget = Budget(time.time(), 60)
    assert [budget.pause(ExitCode.FAILED) for _ in range(FAILURES + 1)] == [0.0, None]


def test_a_service_that_is_away_is_waited_for_longer_and_longer():
    budget = Budget(time.time(), 3600)
    pauses = [budget.pause(ExitCode.TRY_AGAIN) for _ in range(8)]
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300]


def test_preemptions_have_a_budget_of_their_own():
    budget = Budget(time.time(), 3600)
    assert [budget.pause(ExitCode.PREEMPTED) for _ in range(PREEMPTIONS)] == [0.0] * PREEMPTIONS
    assert budget.pause(ExitCode.FAILED) == 0.0
    assert budget.pause(ExitCode.PREEMPTED) is None


@pytest.mark.parametrize("code", [2, 3, 4, 5, 137, 139])
def test_other_causes_are_final(code):
    assert Budget(time.time(), 60).pause(code) is None


def test_nothing_is_tried_after_the_step_s_time():
    assert Budget(time.time() - 61, 60).pause(ExitCode.TRY_AGAIN) is None


@pytest.mark.parametrize(("stopped_by", "code"), [(0, 130), (signal.SIGINT, 130), (15, 143)])
def test_a_stop_ends_with_the_code_of_its_signal(stopped_by, code):
    assert Interrupted("stopped", stopped_by).exit_code == code
