import math

import pytest
import torch

from components.evaluation.likelihood import best_choice, log_likelihoods
from components.model.config import ModelConfig
from components.model.transformer import YoutuModel, initialize


@pytest.fixture(scope="module")
def model() -> YoutuModel:
    config = ModelConfig(
        vocab_size=32,
        hidden=16,
        layers=1,
        heads=2,
        q_rank=8,
        kv_rank=8,
        nope_dim=4,
        rope_dim=4,
        v_dim=4,
        mlp=24,
        max_positions=12,
        init_std=0.5,
    )
    made = YoutuModel(config)
    initialize(made, seed=0)
    return made


def direct(model: YoutuModel, ids: list[int], mask: list[int]) -> float:
    logprobs = model(torch.tensor([ids]))[0].log_softmax(-1)
    return math.fsum(
        logprobs[place - 1, ids[place]].item() for place in range(1, len(ids)) if mask[place]
    )


def test_marked_tokens_are_summed_whatever_the_batch(model: YoutuModel) -> None:
    sequences = [
        ([1, 2, 3, 4], [0, 0, 1, 1]),
        ([5, 6], [1, 1]),
        ([7, 8, 9, 10, 11, 12, 13], [0, 1, 0, 1, 0, 0, 1]),
        ([5, 6, 7], [0, 0, 0]),
    ]
    results = log_likelihoods(model, sequences)
    assert [count for _, count in results] == [2, 1, 3, 0]
    for (total, _), (ids, mask) in zip(results, sequences, strict=True):
        assert total == pytest.approx(direct(model, ids, mask), abs=1e-4)


def test_too_long_a_sequence_loses_its_left_side(model: YoutuModel) -> None:
    ids, mask = list(range(20)), [1] * 20
    total, count = log_likelihoods(model, [(ids, mask)])[0]
    assert count == 11
    assert total == pytest.approx(direct(model, ids[-12:], mask[-12:]), abs=1e-4)


def test_choices_are_compared_a_token() -> None:
    assert best_choice([(-4.0, 4), (-2.0, 1)]) == 0
    assert best_choice([(-1.0, 1), (-1.0, 1)]) == 0


def test_nothing_gives_nothing(model: YoutuModel) -> None:
    assert log_likelihoods(model, []) == []
