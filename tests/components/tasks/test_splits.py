"""Splits follow from the source alone and have the shares they should."""

from __future__ import annotations

from components.tasks.splits import SHARES, SPLITS, draws, fraction, keys_by_split, split_of


def test_split_of_is_fixed_for_ever() -> None:
    """A change here moves test material into training sets of existing checkpoints."""
    keys = keys_by_split(3)
    assert {split: len(keys[split]) for split in SPLITS} == {
        "midtrain": 538,
        "sft": 108,
        "rl": 150,
        "dev": 76,
        "test": 128,
    }


def test_shares_sum_to_one_and_are_met() -> None:
    assert abs(sum(share for _, share in SHARES) - 1) < 1e-12
    found = [split_of(f"document:{number}") for number in range(20_000)]
    for name, share in SHARES:
        assert abs(found.count(name) / len(found) - share) < 0.012


def test_every_key_has_one_split() -> None:
    keys = [key for keys in keys_by_split(2).values() for key in keys]
    assert sorted(keys) == [f"{number:02d}" for number in range(100)]


def test_draws_are_apart_and_repeat() -> None:
    assert draws(0, "a").random() == draws(0, "a").random()
    assert draws(0, "a").random() != draws(0, "b").random()
    assert draws(0, "a").random() != draws(1, "a").random()
    assert 0 <= fraction("x") < 1
