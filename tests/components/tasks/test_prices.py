"""Price tasks: the second call multiplies what the first one answers."""

from __future__ import annotations

from itertools import islice

from components.tasks.prices import price_list, price_tasks


def test_totals_are_right_and_the_key_is_last() -> None:
    prices = price_list(0, 3)
    for task in islice(price_tasks("sft", 0, "keys", prices), 50):
        key, number = task.world["key"], task.world["number"]
        assert task.answer == str(prices[key] * number)
        assert task.steps[1].arguments["e"] == f"{prices[key]} * {number}"
        assert task.question.endswith(f" {key}?")


def test_every_key_has_a_price_of_two_digits() -> None:
    prices = price_list(0, 2)
    assert len(prices) == 100
    assert all(10 < price < 100 for price in prices.values())
    assert prices != price_list(1, 2)
