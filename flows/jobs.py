"""What can be asked for by name: a recipe's whole pipeline, or a part of it."""

from __future__ import annotations

from typing import Any

from components.stages import TABLE
from flows.pipeline import train_agentic_llm
from flows.recipe import Recipe
from flows.run import Job


def job_of(recipe: Recipe, **options: Any) -> Job:
    """Ask for the pipeline with this recipe; `options` are fields of the job, such as `until`."""
    return Job(
        name=recipe.name,
        pipeline=lambda step: train_agentic_llm(recipe, step),
        resolved=recipe.resolved(),
        identity=recipe.identity(),
        resources_of=recipe.resources_of,
        table=TABLE,
        **options,
    )
