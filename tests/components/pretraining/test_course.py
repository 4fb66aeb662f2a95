from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from components.model.config import ModelConfig
from components.pretraining.config import PretrainConfig
from components.pretraining.course import course

MODEL = ModelConfig(vocab_size=2048, hidden=128, layers=2, heads=4, max_positions=1024)


def configured(**changes: Any) -> PretrainConfig:
    return PretrainConfig.model_validate({"model": MODEL, "tokens": 100_000} | changes)


def test_every_step_belongs_to_one_segment() -> None:
    plan = course(configured(growth=((0.25, 512), (0.75, 1024))), data_seed=1)
    assert plan.steps == 49
    lengths = [plan.at(step).length for step in range(plan.steps)]
    assert lengths == sorted(lengths)
    assert [lengths.count(length) for length in (256, 512, 1024)] == [12, 25, 12]
    assert {part.length * part.rows for part in plan.segments} == {2048}
    assert len({part.seed for part in plan.segments}) == 3


def test_the_course_depends_on_seed_and_configuration_alone() -> None:
    assert course(configured(), 1) == course(configured(), 1)
    assert course(configured(), 1) != course(configured(), 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"growth": ((0.5, 300),)}, "no multiple of length 300"),
        ({"growth": ((0.5, 2048),)}, "exceeds model.max_positions"),
        ({"growth": ((0.6, 512), (0.5, 1024))}, "rising shares"),
        ({"growth": ((0.0, 512),)}, "rising shares"),
        ({"mixture": {"poetry": 1.0}}, "mixture names 'poetry'; domains: general, stem, code"),
        ({"mixture": {}}, "mixture names no domain"),
        ({"sequence_length": 300}, "no multiple of length 300"),
    ],
)
def test_refuses_what_does_not_fit_together(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        configured(**changes)
