from __future__ import annotations

import math

import torch

from components.model.rotary import RotaryTable, rotate

CPU = torch.device("cpu")


def test_a_pair_turns_by_its_angle() -> None:
    cos_TR, sin_TR = RotaryTable(4, 100.0).at(3, 1, device=CPU, dtype=torch.float32)
    turned = rotate(torch.tensor([[1.0, 0.0, 0.0, 1.0]]), cos_TR, sin_TR)[0].tolist()
    slow = 3 * 100.0**-0.5
    expected = [math.cos(3), -math.sin(slow), math.sin(3), math.cos(slow)]
    torch.testing.assert_close(torch.tensor(turned), torch.tensor(expected))


def test_scores_depend_on_the_distance_alone() -> None:
    table = RotaryTable(8, 1000.0)
    draw = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 8, generator=draw)

    def score(at: int, other: int) -> float:
        turned = [
            rotate(vector, *table.at(place, 1, device=CPU, dtype=torch.float32))
            for vector, place in ((query, at), (key, other))
        ]
        return float((turned[0] * turned[1]).sum())

    assert math.isclose(score(9, 4), score(105, 100), rel_tol=1e-4)
    assert not math.isclose(score(9, 4), score(9, 5), rel_tol=1e-2)


def test_the_table_grows_without_changing() -> None:
    table = RotaryTable(8, 1000.0)
    before = table.at(0, 5, device=CPU, dtype=torch.float32)[0].clone()
    table.at(0, 500, device=CPU, dtype=torch.float32)
    assert torch.equal(table.at(0, 5, device=CPU, dtype=torch.float32)[0], before)
    assert table.at(100, 7, device=CPU, dtype=torch.float64)[0].shape == (7, 4)
