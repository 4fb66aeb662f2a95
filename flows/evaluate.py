"""Score or release any checkpoint of a run alone: what it needs is taken from the run as it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from components import stages
from components.artifacts.identity import canonical_json, sha256_text
from components.artifacts.manifest import Manifest
from components.artifacts.store import ArtifactStore
from components.contract import BadInput, NotFound, StageConfig
from components.evaluation.config import EvaluateConfig
from components.export.config import ExportConfig
from components.stages import TABLE
from flows.overlay import Change, apply
from flows.recipe import Recipe
from flows.run import Job
from flows.runs import RunRecord

EARLY = ("commonsense", "stem", "long_context")
"""Checkpoints that are scored by `text_scores`; the others by `agent_scores`."""


def evaluation(
    store: ArtifactStore, run: RunRecord, checkpoint: str, changes: Iterable[Change]
) -> Job:
    """Ask for the scores of one checkpoint of a run, with changes to its EvaluateConfig.

    Raises BadInput for a step that is no checkpoint and NotFound where something is not made yet.
    """
    made = artifacts_of(store, run, (checkpoint, "tasks", "shards", "tokenizer"))
    _refuse_other(made[checkpoint], checkpoint)
    recipe = Recipe.model_validate(run.resolved)
    before = recipe.text_scores if checkpoint in EARLY else recipe.agent_scores
    config: EvaluateConfig = apply(before, changes)

    def pipeline(step: Any) -> Any:
        given = {name: _given(step, manifest) for name, manifest in made.items()}
        model = given.pop(checkpoint)
        return step(f"scores.{checkpoint}", stages.EVALUATE, config, checkpoint=model, **given)

    job = _job(recipe, f"eval-{checkpoint}", pipeline, made, config)
    return replace(job, kind="evaluation")


def release(store: ArtifactStore, run: RunRecord, checkpoint: str) -> Job:
    """Ask for the released folder of one checkpoint of a run, with the scores that exist so far."""
    made = artifacts_of(store, run, (checkpoint, "tokenizer"))
    _refuse_other(made[checkpoint], checkpoint)
    recipe = Recipe.model_validate(run.resolved)
    scored = [
        name
        for name, step in run.steps.items()
        if name.startswith("scores.") and step.digest is not None
    ]
    upto = f"scores.{checkpoint}"
    scored = scored[: scored.index(upto) + 1] if upto in scored else []
    made |= artifacts_of(store, run, scored)
    config: ExportConfig = recipe.release

    def pipeline(step: Any) -> Any:
        given = {name: _given(step, manifest) for name, manifest in made.items()}
        scores = tuple(given[name] for name in scored)
        inputs = {"checkpoint": given[checkpoint], "tokenizer": given["tokenizer"]}
        return step("release", stages.EXPORT, config, **inputs, scores=scores)

    job = _job(recipe, f"export-{checkpoint}", pipeline, made, config)
    return replace(job, kind="release")


def artifacts_of(store: ArtifactStore, run: RunRecord, steps: Iterable[str]) -> dict[str, Manifest]:
    """Return the artifacts of a run's steps; raises NotFound for one that is not made yet."""
    found: dict[str, Manifest] = {}
    for name in steps:
        step = run.steps.get(name)
        key = step.key if step is not None and step.digest is not None else None
        manifest = store.manifest(step.stage, key) if step is not None and key else None
        if manifest is None and key:
            raise NotFound(
                f"run {run.id} made {name}, but its artifact is gone or damaged: run its recipe "
                "again, which makes it anew"
            )
        if manifest is None:
            raise NotFound(f"run {run.id} has not made {name}: `strata status {run.id}` shows more")
        found[name] = manifest
    return found


def _given(step: Any, manifest: Manifest) -> Any:
    stage = stages.STAGES[manifest.stage]
    return step(manifest.step, stage, stage.config.model_validate(manifest.config))


def _refuse_other(manifest: Manifest, step: str) -> None:
    if stages.STAGES[manifest.stage].makes is not stages.PRETRAIN.makes:
        raise BadInput(f"{step} is no checkpoint: name a step such as agent, assistant or stem")


def _job(
    recipe: Recipe, name: str, pipeline: Any, made: dict[str, Manifest], config: StageConfig
) -> Job:
    resolved = {
        "config": config.model_dump(mode="json"),
        "artifacts": {step: manifest.digest for step, manifest in made.items()},
    }
    return Job(
        name=name,
        pipeline=pipeline,
        resolved=resolved,
        identity=sha256_text(canonical_json([name, resolved])),
        resources_of=recipe.resources_of,
        table=TABLE,
        pinned={manifest.step: manifest for manifest in made.values()},
    )
