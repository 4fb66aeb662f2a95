from __future__ import annotations

import pytest
import torch
from torch import nn

from components.model.config import ModelConfig
from components.model.transformer import YoutuModel, initialize
from components.training.optimizer import (
    AdamW,
    Muon,
    Optimizer,
    OptimizerSettings,
    orthogonalize,
    split_parameters,
)

SHAPE = ModelConfig(
    vocab_size=40, hidden=16, layers=2, heads=2, q_rank=8, kv_rank=8, nope_dim=4, rope_dim=4,
    v_dim=8, mlp=24, rope_base=1000.0, max_positions=32,
)  # fmt: skip


def fill_gradients(model: nn.Module, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=draw)


def made(settings: OptimizerSettings) -> tuple[YoutuModel, Optimizer]:
    model = YoutuModel(SHAPE)
    initialize(model, 0)
    return model, Optimizer(model, settings)


def test_adamw_equals_the_library() -> None:
    draw = torch.Generator().manual_seed(0)
    ours = nn.Parameter(torch.randn(5, 4, generator=draw))
    theirs = nn.Parameter(ours.detach().clone())
    settings = OptimizerSettings(learning_rate=0.01, weight_decay=0.1)
    adamw = AdamW([("x", ours)], settings)
    reference = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)
    for _ in range(10):
        ours.grad = torch.randn(5, 4, generator=draw)
        theirs.grad = ours.grad.clone()
        adamw.step(0.01)
        reference.step()
    torch.testing.assert_close(ours, theirs)


def test_orthogonalized_matrices_have_singular_values_near_one() -> None:
    wide_KMN = torch.randn(3, 20, 50, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalize(wide_KMN))
    assert 0.5 < values.min() <= values.max() < 1.3
    # Each matrix is treated on its own.
    alone = orthogonalize(wide_KMN[1:2])
    torch.testing.assert_close(orthogonalize(wide_KMN)[1:2], alone, rtol=1e-4, atol=1e-5)


def test_muon_steps_by_the_shape_of_a_matrix_not_the_size_of_its_gradient() -> None:
    for shape, expected in (((8, 32), 1.0), ((32, 8), 2.0)):
        for size in (1e-3, 1e3):
            parameter = nn.Parameter(torch.zeros(shape))
            draw = torch.Generator().manual_seed(0)
            parameter.grad = size * torch.randn(shape, generator=draw)
            Muon([("x", parameter)], OptimizerSettings(0.0, 0.02)).step(0.02)
            norm = torch.linalg.svdvals(parameter.detach()).mean() / 0.02
            assert norm == pytest.approx(expected, rel=0.25)
            assert (parameter.detach() * parameter.grad).sum() < 0


def test_matrices_of_the_blocks_go_to_muon() -> None:
    matrices, rest = split_parameters(YoutuModel(SHAPE).named_parameters())
    assert len(matrices) == 2 * 8
    assert all(name.endswith("_proj.weight") or "with_mqa" in name for name, _ in matrices)
    assert "model.embed_tokens.weight" in dict(rest)


@pytest.mark.parametrize("matrix_rate", [0.02, None])
def test_state_goes_on_bit_by_bit(matrix_rate: float | None) -> None:
    settings = OptimizerSettings(3e-3, matrix_rate, weight_decay=0.01)
    model, optimizer = made(settings)
    for seed in range(3):
        fill_gradients(model, seed)
        optimizer.step()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = {name: tensor.clone() for name, tensor in optimizer.state_dict().items()}

    other, resumed = made(settings)
    other.load_state_dict(weights)
    resumed.load_state_dict(state)
    for seed in range(3, 5):
        for one, stepped in ((model, optimizer), (other, resumed)):
            fill_gradients(one, seed)
            stepped.step(0.5)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
    with pytest.raises(KeyError):
        resumed.load_state_dict({})
