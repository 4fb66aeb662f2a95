from itertools import pairwise

import pytest

from components.shards.shuffle import permuted


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 100, 1000, 4097])
def test_every_place_is_taken_once(count: int) -> None:
    found = [permuted(index, count, 1, "code", 0) for index in range(count)]
    assert sorted(found) == list(range(count))


def test_key_decides_the_order() -> None:
    orders = {
        tuple(permuted(index, 50, *key) for index in range(50))
        for key in [(1, "a", 0), (1, "a", 1), (2, "a", 0), (1, "b", 0)]
    }
    assert len(orders) == 4


def test_order_looks_random() -> None:
    count = 2000
    found = [permuted(index, count, 7) for index in range(count)]
    rises = sum(a < b for a, b in pairwise(found))
    assert abs(rises - count / 2) < 100
    assert sum(index == place for index, place in enumerate(found)) < 10


def test_very_large_permutation_needs_no_table() -> None:
    count = 10**13
    assert 0 <= permuted(count - 1, count, 1) < count


def test_outside_is_refused() -> None:
    with pytest.raises(IndexError):
        permuted(5, 5, 0)
