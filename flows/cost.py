"""What a step will cost: tokens and FLOPs from its configuration, time from its last making.

Training takes 6 FLOPs a parameter and token (Kaplan et al. 2020, section 2.1, without attention); a
rollout's tokens take 2 to sample and 6 for each update on them. A step that was never made is timed
by the rates below, which are ours: half of a matrix product's speed on an H200, and what a model of
0.7M weights reaches on one core.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.artifacts.manifest import Manifest
from components.contract import Resources, StageConfig

FLOPS_A_GPU = 4.0e14
FLOPS_A_CORE = 4.5e10


@dataclass(frozen=True)
class Cost:
    """Hold an estimate; None is unknown. Seconds are wall time."""

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


def estimate(
    config: StageConfig,
    before: Manifest | None,
    inputs: Mapping[str, Manifest],
    parameters: int | None,
    resources: Resources,
) -> Cost:
    """Estimate one step from its configuration, its newest artifact and the inputs that exist."""
    values = config.model_dump(mode="json")
    tokens = step_tokens(values, inputs)
    flops = _flops_a_token(values) * parameters * tokens if tokens and parameters else None
    seconds = flops / _rate(resources) if flops else None
    if before is not None:
        earlier = step_tokens(before.config, inputs)
        scale = tokens / earlier if tokens and earlier else 1.0
        seconds = before.seconds * scale
    return Cost(tokens, flops, seconds, before.bytes if before else _weights(parameters, tokens))


def step_tokens(values: Mapping[str, Any], inputs: Mapping[str, Manifest]) -> int | None:
    """Return the tokens that a training step with this configuration takes; None for another."""
    if "groups_per_step" in values:
        rollouts = values["steps"] * values["groups_per_step"] * values["group_size"]
        return int(rollouts * values["max_tokens"])
    if "epochs" in values:
        lessons = inputs.get("trajectories")
        tokens = lessons.facts.get("tokens", {}).get("sft") if lessons else None
        return int(values["epochs"] * tokens) if tokens else None
    if "batch_tokens" in values and "tokens" in values:
        return int(values["tokens"])
    return None


def _flops_a_token(values: Mapping[str, Any]) -> float:
    if "groups_per_step" in values:
        return 2.0 + 6.0 * values.get("optimizer_steps_per_batch", 1)
    return 6.0


def _rate(resources: Resources) -> float:
    ranks = resources.nodes * resources.processes
    if resources.device == "cuda":
        return FLOPS_A_GPU * ranks
    return FLOPS_A_CORE * ranks * (resources.threads or 1)


def _weights(parameters: int | None, tokens: int | None) -> int | None:
    """Return the size of a checkpoint in fp32; None for a step that makes none."""
    return 4 * parameters if parameters and tokens else None
