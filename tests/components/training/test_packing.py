from __future__ import annotations

import numpy as np
import pytest

from components.training.packing import EpochOrder, Example, pack


def examples(count: int) -> list[Example]:
    draw = np.random.default_rng(0)
    lengths = draw.integers(5, 40, count)
    return [
        ([index * 100 + at for at in range(length)], [0] + [1] * (length - 1))
        for index, length in enumerate(lengths.tolist())
    ]


def test_every_example_stands_whole_in_one_sequence() -> None:
    given = examples(200)
    packed = pack(given, 65, padding=-1, seed=3)
    rows = [row.tolist() for row in packed.ids_PS]
    for ids, _ in given:
        found = [row for row in rows if ids[0] in row]
        assert len(found) == 1
        at = found[0].index(ids[0])
        assert found[0][at : at + len(ids)] == ids
    assert packed.examples == 200
    assert packed.tokens == sum(len(ids) for ids, _ in given)
    assert packed.loss_tokens == packed.tokens - 200
    assert packed.padding_share < 0.08
    assert (packed.ids_PS == -1).mean() == pytest.approx(packed.padding_share)


def test_padding_and_first_tokens_carry_no_loss() -> None:
    packed = pack([([1, 2, 3], [0, 1, 1]), ([4, 5], [0, 1])], 7, padding=9, seed=0)
    targets = packed.ids_PS[:, 1:][packed.mask_PT]
    assert sorted(targets.tolist()) == [2, 3, 5]


def test_what_is_too_long_is_left_out_and_counted() -> None:
    packed = pack([([1] * 9, [1] * 9), ([2] * 8, [1] * 8)], 8, padding=0, seed=0)
    assert (packed.examples, packed.too_long, len(packed.ids_PS)) == (1, 1, 1)
    nothing = pack([([1] * 9, [1] * 9)], 8, padding=0, seed=0)
    assert (nothing.examples, len(nothing.ids_PS), nothing.padding_share) == (0, 0, 0.0)


def test_packing_depends_on_the_seed_alone() -> None:
    given = examples(50)
    first, again, other = (pack(given, 65, padding=0, seed=seed) for seed in (1, 1, 2))
    assert (first.ids_PS == again.ids_PS).all()
    assert first.ids_PS.shape != other.ids_PS.shape or (first.ids_PS != other.ids_PS).any()


def test_each_pass_visits_everything_once_in_an_order_of_its_own() -> None:
    order = EpochOrder(10, 5)
    passes = [[order.at(10 * epoch + place) for place in range(10)] for epoch in range(3)]
    assert all(sorted(one) == list(range(10)) for one in passes)
    assert passes[0] != passes[1]
    backwards = EpochOrder(10, 5)
    assert [backwards.at(position) for position in (25, 3, 17)] == [
        passes[2][5],
        passes[0][3],
        passes[1][7],
    ]
