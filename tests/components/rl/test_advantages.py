import pytest

from components.rl.advantages import group_advantages


def test_advantages_are_centred_and_scaled() -> None:
    advantages = group_advantages([1, 0, 0, 0], [True] * 4)
    assert advantages is not None
    assert sum(advantages) == pytest.approx(0)
    assert sum(a * a for a in advantages) / 4 == pytest.approx(1)
    assert group_advantages([1, 0, 0, 0], [True] * 4, normalize=False) == [
        0.75,
        -0.25,
        -0.25,
        -0.25,
    ]


@pytest.mark.parametrize("rewards", [[1, 1, 1], [0, 0, 0]])
def test_a_group_without_spread_is_dropped(rewards: list[float]) -> None:
    assert group_advantages(rewards, [True] * 3) is None


def test_invalid_rollouts_neither_count_nor_learn() -> None:
    assert group_advantages([1, 0, 1], [True, True, False], normalize=False) == [0.5, -0.5, 0.0]
    # The only spread is with a rollout whose tools failed.
    assert group_advantages([1, 0, 1], [True, False, True]) is None
    assert group_advantages([1, 0], [True, False]) is None


def test_flags_must_fit() -> None:
    with pytest.raises(ValueError, match="2 rewards but 1"):
        group_advantages([1, 0], [True])
