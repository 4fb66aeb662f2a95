from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shards.mixture import BLOCK, place

MIXTURE = {"general": 0.75, "stem": 0.15, "code": 0.1}
weights = st.dictionaries(st.sampled_from("abcd"), st.floats(0.05, 10), min_size=1)


def test_shares_are_exact_within_one_everywhere() -> None:
    counts: Counter[str] = Counter()
    for position in range(3 * BLOCK):
        counts[place(position, MIXTURE)[0]] += 1
        for name, share in MIXTURE.items():
            assert abs(counts[name] - share * (position + 1)) < 1 + 1e-9
    assert counts == {name: round(3 * BLOCK * share) for name, share in MIXTURE.items()}


@given(weights, st.integers(0, 5000))
def test_number_counts_the_domain_before_the_position(mixture: dict, position: int) -> None:
    name, number = place(position, mixture)
    start = position // BLOCK * BLOCK
    before = sum(place(each, mixture)[0] == name for each in range(start, position))
    block = sum(place(each, mixture)[0] == name for each in range(BLOCK))
    assert number == start // BLOCK * block + before


def test_order_of_the_mixture_and_its_scale_do_not_matter() -> None:
    turned = {name: MIXTURE[name] * 20 for name in reversed(MIXTURE)}
    assert [place(n, MIXTURE) for n in range(500)] == [place(n, turned) for n in range(500)]


def test_tiny_share_still_comes() -> None:
    names = {place(n, {"general": 1.0, "code": 1e-6})[0] for n in range(BLOCK)}
    assert names == {"general", "code"}


@pytest.mark.parametrize("mixture", [{}, {"code": 0.0}, {"code": -1.0, "stem": 1.0}])
def test_no_mixture_is_refused(mixture: dict) -> None:
    with pytest.raises(ValueError, match="positive weights"):
        place(0, mixture)
