from __future__ import annotations

import torch
from torch import nn

from components.training.gradients import COUNT, LOSS, GradientBuffer, PairwiseSum


def test_gradients_are_parts_of_one_vector() -> None:
    layer = nn.Linear(3, 2)
    buffer = GradientBuffer(list(layer.parameters()))
    layer(torch.ones(1, 3)).sum().backward()
    assert buffer.gradients.tolist() == [1.0] * 8
    buffer.flat[LOSS], buffer.flat[COUNT] = 5.0, 2.0
    buffer.gradients.mul_(3)
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[3.0] * 3] * 2
    assert buffer.flat.tolist()[-4:] == [5.0, 2.0, 0.0, 0.0]


def test_sums_follow_a_tree_so_that_halves_add_up_bit_by_bit() -> None:
    draw = torch.Generator().manual_seed(0)
    vectors = [torch.randn(1000, generator=draw) * 2.0**number for number in range(8)]

    def summed(part: list[torch.Tensor]) -> torch.Tensor:
        sums = PairwiseSum()
        for vector in part:
            sums.add(vector.clone())
        return sums.total()

    whole = summed(vectors)
    assert torch.equal(whole, summed(vectors[:4]) + summed(vectors[4:]))
    in_a_row = sum(vectors[1:], vectors[0])
    assert not torch.equal(whole, in_a_row)
    torch.testing.assert_close(whole, in_a_row, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(
        summed(vectors[:5]), sum(vectors[1:5], vectors[0]), rtol=1e-4, atol=1e-3
    )
