"""What a step will cost: tokens and FLOPs from its configuration, time and bytes from its last
making.

Training takes 6 FLOPs a parameter and token (Kaplan et al. 2020, section 2.1, attention left out);
a rollout's sampled tokens take 2 for sampling and 6 for the update.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.artifacts.manifest import Manifest
from components.contract import StageConfig


@dataclass(frozen=True)
class Cost:
    """Hold an estimate; None is unknown. Seconds are wall time where it was made last."""

    tokens: int | None = None
    flops: float | None = None
    seconds: float | None = None
    bytes: int | None = None

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            _sum(self.tokens, other.tokens),
            _sum(self.flops, other.flops),
            _sum(self.seconds, other.seconds),
            _sum(self.bytes, other.bytes),
        )


def _sum(a: Any, b: Any) -> Any:
    return a if b is None else b if a is None else a + b


def estimate(config: StageConfig, before: Manifest | None, inputs: Mapping[str, Manifest]) -> Cost:
    """Estimate one step from its configuration, its newest artifact and the inputs that exist."""
    tokens = step_tokens(config, inputs)
    parameters = step_parameters(config, inputs)
    seconds = before.seconds if before else None
    if before is not None and tokens and seconds is not None:
        earlier = step_tokens_of(before.config)
        seconds *= tokens / earlier if earlier else 1.0
    flops = 6.0 * parameters * tokens if tokens and parameters else None
    return Cost(tokens, flops, seconds, before.bytes if before else None)


def step_tokens(config: StageConfig, inputs: Mapping[str, Manifest]) -> int | None:
    """Return the tokens a training step takes; None for a step that does not train."""
    del inputs
    return step_tokens_of(config.model_dump(mode="json"))


def step_tokens_of(config: Mapping[str, Any]) -> int | None:
    """Return the training tokens that a resolved configuration stands for; None without any."""
    if "groups_per_step" in config:
        rollouts = config["steps"] * config["groups_per_step"] * config["group_size"]
        return int(rollouts * config["max_tokens"])
    if "batch_tokens" in config and "steps" in config:
        return int(config["steps"] * config["batch_tokens"])
    tokens = config.get("tokens")
    return int(tokens) if isinstance(tokens, int | float) and not isinstance(tokens, bool) else None


def step_parameters(config: StageConfig, inputs: Mapping[str, Manifest]) -> int | None:
    """Return the weights of the model that a step trains, from its configuration or its input."""
    model = getattr(config, "model", None)
    if model is not None:
        return int(model.parameters)
    for name in ("initial", "checkpoint"):
        facts = inputs[name].facts if name in inputs else {}
        if "parameters" in facts:
            return int(facts["parameters"])
    return None
