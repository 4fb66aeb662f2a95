from __future__ import annotations

import math

import pytest

from components.contract import BadInput
from components.pretraining.config import PretrainConfig
from flows.ablation import (
    ablation,
    ablation_table,
    full_name,
    mean_over_seeds,
    step_of,
    without_midtraining,
)
from flows.recipe import shipped
from flows.scores import CheckpointScores, Score


def test_the_control_spends_the_same_tokens_in_the_same_batches():
    recipe = shipped("toy")
    text, lessons = without_midtraining(recipe).agentic_base, recipe.agentic_base
    assert isinstance(text, PretrainConfig)
    for field in ("tokens", "batch_tokens", "learning_rate", "sequence_length", "mixture", "seed"):
        assert getattr(text, field) == getattr(lessons, field)
    assert text.model == recipe.long_context.model
    with pytest.raises(BadInput):
        without_midtraining(without_midtraining(recipe))


def walked(seeds: int):
    asked = ablation(shipped("toy"), seeds=seeds, held_out="repair")
    steps: dict[str, tuple] = {}

    def step(name, stage, config, **inputs):
        assert name not in steps
        steps[name] = (stage.name, config, inputs)
        return name

    asked.pipeline(step)
    return asked, steps


def test_what_arms_share_is_made_once():
    asked, steps = walked(2)
    names = list(steps)
    assert names.count("corpus") == 1
    assert {"s0.commonsense", "s1.commonsense", "s0.with.assistant", "s1.without.assistant"} <= set(
        names
    )
    assert steps["s0.with.agentic_base"][0] == "agentic_midtrain"
    assert steps["s0.without.agentic_base"][0] == "pretrain"
    assert steps["s0.without.assistant"][1] == steps["s0.with.assistant"][1]
    assert steps["s1.commonsense"][1].seed == 1
    assert steps["tasks"][1].held_out_families == ("repair",)
    assert all(name in steps for name in asked.until.split(","))
    assert not any("agent," in asked.until for _ in [0])


def test_names_go_there_and_back():
    for step in ("corpus", "stem", "assistant", "scores.assistant", "scores.stem"):
        assert step_of(full_name(step, 2, "with")) == step


def test_the_mean_over_seeds_has_student_s_interval():
    mean = mean_over_seeds([0.1, 0.2, 0.3])
    assert mean is not None
    assert mean.value == pytest.approx(0.2)
    assert mean.high - mean.value == pytest.approx(4.303 * 0.1 / math.sqrt(3))
    assert math.isnan(mean_over_seeds([0.1]).low)
    assert mean_over_seeds([]) is None


def test_the_table_has_both_arms_and_the_difference():
    def scored(name, value):
        return CheckpointScores(name, {"success/greedy": Score(value, 100, 0, 1)}, {})

    rows = [
        scored(f"s{seed}.{arm}.assistant", value + 0.01 * seed)
        for seed in range(3)
        for arm, value in (("with", 0.7), ("without", 0.1))
    ]
    table = ablation_table(rows, "")
    assert "with mid-training, seed 2" in table
    assert "+60.00 (+60.00 to +60.00)" in table
