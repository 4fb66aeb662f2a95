import math

import pytest

from components.evaluation.confidence import paired_difference, ratio_interval, wilson


def paired(both: int, only_a: int, only_b: int, neither: int) -> tuple[dict[str, float], ...]:
    outcomes = [(1, 1)] * both + [(1, 0)] * only_a + [(0, 1)] * only_b + [(0, 0)] * neither
    a = {str(index): float(pair[0]) for index, pair in enumerate(outcomes)}
    b = {str(index): float(pair[1]) for index, pair in enumerate(outcomes)}
    return a, b


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)],
)
def test_wilson_gives_the_published_intervals(
    successes: int, n: int, low: float, high: float
) -> None:
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3.
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_holds_the_share_and_stays_within_bounds() -> None:
    for n in range(1, 200):
        for successes in (0, 1, n - 1, n):
            low, high = wilson(successes, n)
            assert 0 <= low <= successes / n <= high <= 1, (successes, n)


def test_wilson_knows_nothing_without_trials() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_paired_proportions_give_the_published_interval() -> None:
    # Newcombe 1998, Statistics in Medicine 17:2635, method 10 on the table 36, 12, 2, 0.
    b, a = paired(36, 12, 2, 0)
    assert paired_difference(a, b) == pytest.approx((0.20, 0.0569, 0.3404), abs=5e-5)


def test_paired_difference_turns_its_sign_with_its_arguments() -> None:
    a, b = paired(40, 5, 25, 30)
    value, low, high = paired_difference(a, b)
    assert paired_difference(b, a) == pytest.approx((-value, -high, -low))
    assert value == pytest.approx(0.2)
    assert low > 0


def test_equal_outcomes_have_no_difference() -> None:
    a, b = paired(50, 0, 0, 50)
    value, low, high = paired_difference(a, b)
    assert value == 0
    assert low <= 0 <= high
    assert high - low < 0.05


def test_paired_difference_uses_shared_items_only() -> None:
    value, _, _ = paired_difference({"x": 0.0, "y": 1.0}, {"x": 1.0, "z": 1.0})
    assert value == 1.0
    assert all(math.isnan(number) for number in paired_difference({"x": 0.0}, {"z": 1.0}))


def test_ratio_is_of_sums_and_its_interval_is_seeded() -> None:
    bits, sizes = [10.0, 30.0, 22.0, 8.0], [10.0, 10.0, 11.0, 9.0]
    value, low, high = ratio_interval(bits, sizes, seed=3)
    assert value == pytest.approx(70 / 40)
    assert low < value < high
    assert ratio_interval(bits, sizes, seed=3) == (value, low, high)


def test_paired_bootstrap_of_shifted_quantities_is_certain() -> None:
    a = {str(index): 2.0 + index % 7 for index in range(50)}
    b = {key: number - 0.25 for key, number in a.items()}
    assert paired_difference(a, b) == pytest.approx((-0.25, -0.25, -0.25))
