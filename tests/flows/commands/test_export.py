from __future__ import annotations

import pytest

from components.evaluation.config import EvaluateConfig
from flows.ablation import ablation
from flows.commands.export import describes_tools
from flows.recipe import shipped
from flows.runs import RunRecord


def run_of(resolved: dict) -> RunRecord:
    return RunRecord(id="r", recipe="r", identity="", resolved=resolved, created=0.0)


@pytest.mark.parametrize("name", ["toy", "small"])
def test_a_checkpoint_is_prompted_as_its_run_trains(name):
    recipe, described = shipped(name), name == "small"
    alone = EvaluateConfig(describe_tools=described).model_dump(mode="json")
    for resolved in (
        recipe.resolved(),
        ablation(recipe, seeds=1, held_out="").resolved,
        {"config": alone, "artifacts": {}},
    ):
        assert describes_tools(run_of(resolved)) is described
