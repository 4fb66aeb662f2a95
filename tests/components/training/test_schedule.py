from __future__ import annotations

import pytest

from components.training.schedule import Schedule


def test_rises_stays_and_falls() -> None:
    factors = [Schedule(100, warmup=0.1, decay=0.3, floor=0.1)(step) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == 1.0
    assert factors[9:70] == [1.0] * 61
    assert factors[70:] == sorted(factors[70:], reverse=True)
    assert factors[-1] == pytest.approx(0.1)
    assert factors[69] > factors[70]


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_few_steps_have_a_positive_rate(steps: int) -> None:
    for warmup, decay in ((0, 0), (0.05, 0.3), (1, 1), (0, 1)):
        schedule = Schedule(steps, warmup=warmup, decay=decay, floor=0.1)
        assert all(0 < schedule(step) <= 1 for step in range(steps))


def test_without_warmup_and_decay_the_rate_is_constant() -> None:
    assert {Schedule(50, warmup=0, decay=0)(step) for step in range(50)} == {1.0}
