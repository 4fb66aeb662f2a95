"""One recipe with and without agentic mid-training, over several seeds, up to SFT.

The control is token-matched: the same number of tokens in the same batches at the same rates, of
text alone, and then the same SFT. One task family is held out of training in both arms. It is one
pipeline, so that what the arms share is made once: data for all, pre-training for each seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from components.agentic_midtraining.config import AgenticMidtrainConfig
from components.artifacts.identity import canonical_json, sha256_text
from components.contract import BadInput, Stage, StageConfig
from components.pretraining.config import PretrainConfig
from components.stages import TABLE
from flows.pipeline import train_agentic_llm
from flows.recipe import Recipe, with_seed
from flows.run import Job
from flows.scores import CheckpointScores, Score, aligned

DATA = ("corpus", "tokenizer", "tasks", "shards", "trajectories")
TEXT = ("commonsense", "stem", "long_context")
ARMS = ("with", "without")
SCORED = ("agentic_base", "assistant")
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""Quantiles of the two-sided 95 % interval of Student's t by degrees of freedom."""


def ablation(recipe: Recipe, *, seeds: int, held_out: str) -> Job:
    """Ask for both arms over `seeds` seeds, with one family (or none, if empty) held out.

    Raises BadInput for a recipe whose mid-training is the control already.
    """
    families = (held_out,) if held_out else ()
    recipe = recipe.but(tasks={"held_out_families": families})
    control = without_midtraining(recipe)
    arms = {"with": recipe, "without": control}

    def pipeline(step: Any) -> None:
        made: dict[str, Any] = {}
        for seed in range(seeds):
            for arm, variant in arms.items():
                train_agentic_llm(with_seed(variant, seed), _named(step, made, seed, arm))

    resolved = {arm: variant.resolved() for arm, variant in arms.items()} | {"seeds": seeds}
    return Job(
        name=f"ablate-{recipe.name}",
        pipeline=pipeline,
        resolved=resolved,
        identity=sha256_text(canonical_json(resolved)),
        resources_of=lambda step: recipe.resources_of(step_of(step)),
        table=TABLE,
        kind="ablation",
        until=",".join(
            f"scores.s{seed}.{arm}.{checkpoint}"
            for seed in range(seeds)
            for arm in ARMS
            for checkpoint in SCORED
        ),
    )


def without_midtraining(recipe: Recipe) -> Recipe:
    """Return the control: as many tokens of text, in equal batches and at equal rates.

    Raises BadInput for a recipe that is the control already.
    """
    before = recipe.agentic_base
    if not isinstance(before, AgenticMidtrainConfig):
        raise BadInput("agentic_base has no trajectories in this recipe: there is nothing to leave")
    shared = set(PretrainConfig.model_fields) & set(AgenticMidtrainConfig.model_fields)
    text = PretrainConfig.model_validate(
        {"model": recipe.long_context.model, **before.model_dump(include=shared)}
    )
    return recipe.model_copy(update={"agentic_base": text})


def _named(
    step: Callable[..., Any], made: dict[str, Any], seed: int, arm: str
) -> Callable[..., Any]:
    """Give each line of the pipeline its name in the ablation; shared lines are stepped once."""

    def named(name: str, stage: Stage, config: StageConfig, **inputs: Any) -> Any:
        full = full_name(name, seed, arm)
        if full not in made:
            made[full] = step(full, stage, config, **inputs)
        return made[full]

    return named


def full_name(step: str, seed: int, arm: str) -> str:
    """Return the name of a pipeline's step in the ablation, such as `s0.with.assistant`."""
    if step.startswith("scores."):
        return f"scores.{full_name(step.removeprefix('scores.'), seed, arm)}"
    if step in DATA:
        return step
    return f"s{seed}.{step}" if step in TEXT else f"s{seed}.{arm}.{step}"


def step_of(full: str) -> str:
    """Return the pipeline's step that a name in the ablation stands for."""
    prefix, _, name = full.rpartition(".")
    return f"scores.{name}" if prefix.startswith("scores") else name


def ablation_table(scores: Iterable[CheckpointScores], held_out: str) -> str:
    """Lay the arms out: success after each step by seed, and what mid-training gained."""
    by_name = {each.checkpoint: each for each in scores}
    seeds = sorted({name.split(".")[0] for name in by_name})
    columns = {"success/greedy": "success, greedy", "success/sampled": "success, sampled"}
    if held_out:
        columns[f"success/greedy/{held_out}"] = f"held out: {held_out}"
    columns["bits_per_byte/general"] = "bits/byte general"
    parts: list[str] = []
    for checkpoint in SCORED:
        rows = [[f"after {checkpoint}", *columns.values()]]
        for arm in ARMS:
            for seed in seeds:
                each = by_name.get(f"{seed}.{arm}.{checkpoint}")
                cells = [_cell(each, name) for name in columns]
                rows.append([f"{arm} mid-training, seed {seed[1:]}", *cells])
        gained = [_gained(by_name, seeds, checkpoint, name) for name in columns]
        rows.append(["difference, mean of seeds", *gained])
        parts.append(aligned(rows))
    note = "In brackets 95 % intervals; of the mean, Student's t over seeds."
    return "\n\n".join([*parts, note])


def _cell(each: CheckpointScores | None, name: str) -> str:
    score = each.scores.get(name) if each else None
    if score is None:
        return "–"
    if name.startswith("bits"):
        return f"{score.value:.3f}"
    return f"{100 * score.value:.1f} % ({100 * score.low:.1f}–{100 * score.high:.1f})"


def _gained(
    by_name: dict[str, CheckpointScores], seeds: list[str], checkpoint: str, name: str
) -> str:
    differences: list[float] = []
    for seed in seeds:
        pair = [by_name.get(f"{seed}.{arm}.{checkpoint}") for arm in ("without", "with")]
        control, treated = (each.scores.get(name) if each else None for each in pair)
        if control is not None and treated is not None:
            differences.append(treated.value - control.value)
    mean = mean_over_seeds(differences)
    if mean is None:
        return "–"
    scale, unit = (1, "") if name.startswith("bits") else (100, "")
    if math.isnan(mean.low):
        return f"{scale * mean.value:+.2f}{unit}"
    return f"{scale * mean.value:+.2f} ({scale * mean.low:+.2f} to {scale * mean.high:+.2f})"


def mean_over_seeds(differences: list[float]) -> Score | None:
    """Return the mean with its t interval; one seed has no interval (NaN), none gives None."""
    n = len(differences)
    if n == 0:
        return None
    mean = sum(differences) / n
    if n == 1:
        return Score(mean, 1, math.nan, math.nan)
    variance = sum((d - mean) ** 2 for d in differences) / (n - 1)
    reach = T95.get(n - 1, 1.96) * math.sqrt(variance / n)
    return Score(mean, n, mean - reach, mean + reach)
