from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from components.model.config import ModelConfig
from components.model.transformer import YoutuModel, initialize
from components.training import loss as module
from components.training.loss import Batch, linear_cross_entropy, next_token_loss


@pytest.mark.parametrize("count", [1, 64, 200])
def test_value_and_gradients_equal_the_plain_form(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module.LOGITS_A_CHUNK, "cpu", 64 * 97)  # several chunks
    draw = torch.Generator().manual_seed(0)
    hidden_NH = torch.randn(count, 16, generator=draw, requires_grad=True)
    output_VH = torch.randn(97, 16, generator=draw, requires_grad=True)
    target_N = torch.randint(0, 97, (count,), generator=draw)
    ours = linear_cross_entropy(hidden_NH, output_VH, target_N)
    ours_H, ours_V = torch.autograd.grad(2 * ours, (hidden_NH, output_VH))
    plain = F.cross_entropy(hidden_NH @ output_VH.T, target_N, reduction="sum")
    plain_H, plain_V = torch.autograd.grad(2 * plain, (hidden_NH, output_VH))
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(ours_H, plain_H, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours_V, plain_V, atol=1e-4, rtol=1e-4)


def test_a_very_unlikely_target_stays_finite() -> None:
    output_VH = torch.eye(3) * 500
    loss = linear_cross_entropy(torch.eye(3)[:1], output_VH, torch.tensor([1]))
    assert loss.item() == pytest.approx(500)


def test_masked_tokens_have_no_part() -> None:
    config = ModelConfig(
        vocab_size=40, hidden=16, layers=1, heads=2, q_rank=8, kv_rank=8, nope_dim=4, rope_dim=4,
        v_dim=8, mlp=16, rope_base=1000.0, max_positions=32,
    )  # fmt: skip
    model = YoutuModel(config)
    initialize(model, 0)
    ids_BS = torch.randint(0, 40, (2, 9), generator=torch.Generator().manual_seed(0))
    mask_BT = torch.zeros(2, 8, dtype=torch.bool)
    mask_BT[0, 3] = mask_BT[1, 5] = True
    loss, count = next_token_loss(model, Batch(ids_BS, mask_BT))
    logprob = model(ids_BS[:, :-1]).log_softmax(-1)
    expected = -(logprob[0, 3, ids_BS[0, 4]] + logprob[1, 5, ids_BS[1, 6]])
    assert count == 2
    torch.testing.assert_close(loss, expected)

    loss, count = next_token_loss(model, Batch(ids_BS, torch.zeros(2, 8, dtype=torch.bool)))
    loss.backward()
    assert (loss.item(), count) == (0.0, 0)
