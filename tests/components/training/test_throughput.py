from __future__ import annotations

import pytest

from components.model.config import ModelConfig
from components.training.throughput import Meter, training_flops_per_token


def test_operations_of_the_papers_model() -> None:
    config = ModelConfig()
    short = training_flops_per_token(config, 1)
    assert short == pytest.approx(6 * config.parameters, rel=1e-3)
    # At 8k tokens attention adds 6 x 32 layers x 16 heads x 320 x 4096.
    assert training_flops_per_token(config, 8192) - short == pytest.approx(4.03e9, rel=0.01)


def test_an_untied_embedding_takes_no_part_in_products() -> None:
    tied, untied = ModelConfig(), ModelConfig(tied=False)
    assert training_flops_per_token(tied, 64) == training_flops_per_token(untied, 64)


def test_the_meter_measures_what_was_added() -> None:
    meter = Meter(window=2)
    assert meter.rate(100) == 0.0
    rates = [meter.rate(100 + 50 * step) for step in range(1, 5)]
    assert all(rate > 0 for rate in rates)
