"""`strata config`: a recipe with everything resolved, two of them compared, and their schema."""

from __future__ import annotations

from typing import Any

from components.artifacts.store import open_store
from components.contract import NotFound
from components.settings import settings
from flows.commands.options import Changes
from flows.commands.output import emit, table
from flows.difference import diff as differences
from flows.difference import flatten
from flows.recipe import RECIPES, Recipe, shipped
from flows.runs import find_run


def show(
    recipe: str = "toy",
    *,
    changes: Changes = Changes(),  # noqa: B008  (frozen)
    json: bool = False,
) -> None:
    """Print a recipe with every default and change resolved.

    Parameters
    ----------
    recipe
        Name of a recipe: ci, toy, small or two_billion.
    json
        Print JSON instead of `step.field = value` lines.
    """
    resolved = changes.apply_to(recipe, settings()).resolved()
    if json:
        emit(resolved)
        return
    for name, value in flatten(resolved).items():
        print(f"{name} = {value}")


def diff(left: str, right: str, *, json: bool = False) -> None:
    """Print where two recipes, or the recipes of two runs, differ.

    Parameters
    ----------
    left
        Name of a recipe or id of a run.
    right
        The other one.
    json
        Print JSON: field to the two values.
    """
    found = differences(resolved_of(left), resolved_of(right))
    if json:
        emit({name: list(pair) for name, pair in found.items()})
    else:
        rows: list[list[Any]] = [[name, a, b] for name, (a, b) in found.items()]
        print(table(["field", left, right], rows) if rows else "equal")


def resolved_of(name: str) -> dict[str, Any]:
    """Return the resolved recipe of this name, or that of the run with this id."""
    if name in RECIPES:
        return shipped(name).resolved()
    try:
        return find_run(open_store(settings()), name).resolved
    except NotFound:
        shipped(name)  # raises NotFound with a suggestion among the recipes
        raise


def schema() -> None:
    """Print the JSON Schema of a recipe file, with each field's meaning and unit."""
    emit(Recipe.model_json_schema())
