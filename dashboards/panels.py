"""Which curves stand in which panel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from components.catalog.queries import Step
from dashboards.journals import Curve

MAIN = "main metric of each step"
_MAIN = ("train/loss", "rl/reward", "train/reward", "reward")


def metric_names(steps: Mapping[str, Sequence[Curve]]) -> list[str]:
    """List what can be chosen: each step's main metric, then every name, by how many steps have
    it.
    """
    count: dict[str, int] = {}
    for curves in steps.values():
        for curve in curves:
            count[curve.metric] = count.get(curve.metric, 0) + 1
    names = sorted(count, key=lambda name: (-count[name], name))
    return [MAIN, *names] if names else []


def panels(steps: Mapping[str, Sequence[Curve]], metric: str) -> dict[str, Curve]:
    """Return the curve of each step that has the metric, in the order of the steps."""
    found = {step: _pick(curves, metric) for step, curves in steps.items()}
    return {step: curve for step, curve in found.items() if curve is not None and curve.points}


def _pick(curves: Iterable[Curve], metric: str) -> Curve | None:
    by_name = {curve.metric: curve for curve in curves}
    if metric != MAIN:
        return by_name.get(metric)
    rewards = [name for name in by_name if "reward" in name]
    wanted = [*sorted(rewards), *_MAIN] if rewards else list(_MAIN)
    return next((by_name[name] for name in wanted if name in by_name), None)


def overlay(
    runs: Mapping[str, Mapping[str, Sequence[Curve]]], metric: str
) -> dict[str, dict[str, Curve]]:
    """Group the curves of several runs by step: step to run to curve."""
    grouped: dict[str, dict[str, Curve]] = {}
    for run, steps in runs.items():
        for step, curve in panels(steps, metric).items():
            grouped.setdefault(step, {})[run] = curve
    return grouped


def shared_steps(runs: Sequence[Sequence[Step]]) -> set[str]:
    """Return the steps that have one key in all runs: one artifact, one curve."""
    keys = [{step.step: step.key for step in steps if step.key} for steps in runs]
    first = keys[0] if keys else {}
    return {step for step, key in first.items() if all(other.get(step) == key for other in keys)}
