"""What a user may set going from the dashboard: the one module here that changes anything.

It goes through `flows.deployments`, so that a run started here is started like any other.
"""

from __future__ import annotations

from components.settings import Settings

RECIPES = ("ci", "toy", "small", "two_billion")
"""Recipes offered; an overlay of one is written as overrides."""


def deploy(settings: Settings, recipe: str, overrides: str, cron: str) -> str:
    """Make a deployment of a recipe in Prefect and return its page, where a run is started.

    `overrides` has one `step.field=value` a line. Raises BadInput for a change or schedule that
    does not hold, and EnvironmentMissing without a Prefect server.
    """
    from flows import deployments  # takes seconds, so only once it is wanted

    changes = [line.strip() for line in overrides.splitlines() if line.strip()]
    return deployments.deploy(settings, recipe, overrides=changes, cron=cron.strip())
