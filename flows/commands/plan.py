"""`strata plan`: what would run, why, and at what cost; no side effects."""

from __future__ import annotations

from components.artifacts.store import open_store
from components.settings import settings
from flows.commands.options import Changes
from flows.commands.output import emit
from flows.jobs import job_of
from flows.plan_table import plan_table
from flows.run import make_plan


def plan(
    recipe: str = "toy",
    *,
    changes: Changes = Changes(),  # noqa: B008  (frozen)
    until: str = "",
    accept_stale: list[str] | None = None,
    json: bool = False,
) -> None:
    """Show which steps of a recipe are cached, which run, why, and at what cost.

    Parameters
    ----------
    recipe
        Name of a recipe: ci, toy, small or two_billion.
    until
        Last step to plan.
    accept_stale
        Use this step's newest artifact although its code has changed since; may be repeated.
    json
        Print JSON.
    """
    here = settings()
    job = job_of(
        changes.apply_to(recipe, here), until=until, accept_stale=frozenset(accept_stale or ())
    )
    planned = make_plan(job, open_store(here))
    if json:
        emit([step.to_json() for step in planned.steps.values()])
    else:
        print(plan_table(planned))
