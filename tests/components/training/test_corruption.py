from __future__ import annotations

import torch

from components.training.corruption import WeightWatch, suspects, weight_sum
from tests.components.training.sample_inputs import make_context


def test_every_single_bit_changes_the_sum() -> None:
    for kind in (torch.float32, torch.bfloat16):
        weight = torch.tensor([0.0, -1.5, 3e-5], dtype=kind)
        bits = weight.view(torch.int32 if kind is torch.float32 else torch.int16)
        before = weight_sum([weight])
        for place in range(3 * 8 * weight.element_size()):
            at, bit = divmod(place, 8 * weight.element_size())
            flip = -(1 << bit) if bit == 8 * weight.element_size() - 1 else 1 << bit
            bits[at] ^= flip
            assert weight_sum([weight]) != before, (kind, at, bit)
            bits[at] ^= flip
        assert weight_sum([weight]) == before


def test_who_changed_between_updates_is_to_blame() -> None:
    assert suspects([(5, 5), (5, 6)]) == [1]
    assert suspects([(5, 4), (5, 5), (5, 5)]) == [0]


def test_who_differs_from_most_others_is_to_blame() -> None:
    assert suspects([(5, 5), (5, 5), (7, 7)]) == [2]
    assert suspects([(5, 5), (7, 7)]) == [0, 1], "two ranks have no majority"
    assert suspects([(5, 5), (5, 5)]) == []


def test_a_single_rank_is_not_watched(tmp_path) -> None:
    weight = torch.zeros(4)
    watch = WeightWatch([weight], make_context(tmp_path))
    watch.updated()
    weight += 1
    watch.check(0)
    assert watch.sound()
