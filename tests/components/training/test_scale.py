from __future__ import annotations

import math

from components.training.scale import LEAST, START, STEPS_TO_RISE, LossScale


def test_falls_when_a_gradient_overflows_and_rises_after_a_long_run() -> None:
    scale = LossScale()
    assert scale.overflowed(1.0, math.inf)
    assert scale.overflowed(1.0, math.nan)
    assert scale.value == START / 4
    for _ in range(STEPS_TO_RISE):
        assert not scale.overflowed(1.0, 0.5)
    assert scale.value == START / 2


def test_a_loss_that_is_not_finite_is_left_to_the_guard() -> None:
    scale = LossScale()
    assert not scale.overflowed(math.nan, math.nan)
    assert scale.value == START


def test_so_is_an_overflow_once_the_factor_cannot_fall() -> None:
    scale = LossScale(value=LEAST)
    assert not scale.overflowed(1.0, math.inf)
    assert scale.value == LEAST
