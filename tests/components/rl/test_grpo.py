import math

import pytest
import torch

from components.model.config import ModelConfig
from components.model.transformer import YoutuModel, initialize
from components.rl.grpo import Episode, MicroBatch, clipped_loss, micro_batches, policy_logprobs

TINY = ModelConfig(
    vocab_size=32,
    hidden=16,
    layers=2,
    heads=2,
    q_rank=8,
    kv_rank=8,
    nope_dim=4,
    rope_dim=4,
    v_dim=4,
    mlp=24,
    rope_base=100.0,
    max_positions=64,
)
NOTHING = torch.zeros(32, dtype=torch.bool)


def tiny() -> YoutuModel:
    model = YoutuModel(TINY)
    initialize(model, seed=0)
    return model


def single(old: float, advantage: float) -> MicroBatch:
    one = torch.zeros(1, dtype=torch.long)
    return MicroBatch(one[None], one, one, one, torch.tensor([old]), torch.tensor([advantage]))


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (1.0, 2.0, -2.0, 0),
        (1.5, 1.0, -1.2, 1),
        (0.5, 1.0, -0.5, 0),
        (0.5, -1.0, 0.8, 1),
        (1.5, -1.0, 1.5, 0),
    ],
)
def test_loss_is_the_clipped_one(ratio: float, advantage: float, loss: float, clipped: int) -> None:
    logprob = torch.tensor([math.log(0.2 * ratio)], requires_grad=True)
    value, measured = clipped_loss(logprob, single(math.log(0.2), advantage), 0.2)
    value.backward()
    assert value.item() == pytest.approx(loss, rel=1e-5)
    assert measured.clipped == clipped
    assert logprob.grad is not None
    assert (logprob.grad.item() == 0) == bool(clipped)
    assert measured.gap_max == pytest.approx(abs(math.log(ratio)), abs=1e-6)


def test_micro_batches_hold_sampled_tokens_only_and_change_no_sum() -> None:
    model = tiny()
    episodes = [
        Episode([1, 2, 3, 4], [0, 0, 1, 1], [0, 0, -1.0, -2.0], 1.0),
        Episode([5, 6, 7, 8, 9, 10], [0, 1, 0, 0, 1, 0], [0, -1.5, 0, 0, -0.5, 0], -0.5),
        Episode([1, 2], [0, 0], [0, 0], 1.0),
    ]

    def total(rows: int) -> float:
        batches = micro_batches(episodes, rows=rows)
        losses = [
            clipped_loss(policy_logprobs(model, b, temperature=0.7, forbidden_V=NOTHING), b, 0.2)[0]
            for b in batches
        ]
        return sum(loss.item() for loss in losses)

    together = micro_batches(episodes)
    assert len(together) == 1
    assert together[0].target_N.tolist() == [6, 9, 3, 4]
    assert together[0].column_N.tolist() == [0, 3, 1, 2]
    assert total(1) == pytest.approx(total(2), rel=1e-5)


def test_log_probabilities_are_of_the_distribution_that_was_sampled() -> None:
    model = tiny()
    forbidden = NOTHING.clone()
    forbidden[3] = True
    batch = micro_batches([Episode([1, 2, 4], [0, 0, 1], [0, 0, 0.0], 1.0)])[0]
    got = policy_logprobs(model, batch, temperature=0.5, forbidden_V=forbidden)
    logits = model(torch.tensor([[1, 2]]))[0, -1] / 0.5
    allowed = torch.cat((logits[:3], logits[4:]))
    assert got.item() == pytest.approx((logits[4] - allowed.logsumexp(0)).item(), abs=1e-5)
