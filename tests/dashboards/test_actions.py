"""What the dashboard may set going."""

from __future__ import annotations

import pytest

from components.contract import BadInput, EnvironmentMissing, NotFound
from components.settings import Settings
from dashboards import actions


def test_recipes_are_the_shipped_ones() -> None:
    from flows.recipe import RECIPES

    assert actions.RECIPES == RECIPES


def test_without_prefect_it_says_what_to_do(tmp_path: object) -> None:
    settings = Settings(home=f"{tmp_path}", prefect_port=1)  # type: ignore[arg-type]
    with pytest.raises((EnvironmentMissing, BadInput, NotFound), match="strata up"):
        actions.deploy(settings, "toy", "", "")
