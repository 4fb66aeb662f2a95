"""Every shipped recipe resolves and plans, and none is a copy of another."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.artifacts.store import open_store
from components.contract import BadInput, NotFound, Resources
from components.settings import Settings
from flows.cost import Cost
from flows.jobs import job_of
from flows.pipeline import train_agentic_llm
from flows.recipe import RECIPES, STEP_FIELDS, Recipe, resolve, shipped
from flows.run import make_plan

FOLDER = Path(__file__).parents[1] / "flows" / "recipes"


def test_every_file_is_a_listed_recipe():
    found = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert found == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_it_resolves_and_comes_back_from_json(name):
    recipe = shipped(name)
    assert recipe.name == name
    assert Recipe.model_validate(recipe.resolved()) == recipe
    assert recipe.tokenizer.vocab_size == recipe.commonsense.model.vocab_size
    assert recipe.commonsense.model == recipe.stem.model == recipe.long_context.model


@pytest.mark.parametrize("name", RECIPES)
def test_prompts_describe_the_tools_everywhere_or_nowhere(name):
    recipe = shipped(name)
    prompting = (
        recipe.trajectories, recipe.agent, recipe.text_scores, recipe.agent_scores, recipe.release,
    )  # fmt: skip
    assert {config.describe_tools for config in prompting} == {name in ("small", "two_billion")}


@pytest.mark.parametrize("name", RECIPES)
def test_it_plans_every_step_without_a_trace(name, tmp_path):
    settings = Settings(home=tmp_path / "home")
    recipe = without_downloads(shipped(name), tmp_path)
    plan = make_plan(job_of(recipe), open_store(settings))
    assert set(plan.steps) == {*STEP_FIELDS, *(f"scores.{c}" for c in CHECKPOINTS)}
    assert plan.steps["corpus"].state == "runs"
    assert all(plan.steps[c].cost.flops for c in ("commonsense", "stem", "agentic_base", "agent"))
    assert plan.steps["commonsense"].cost != Cost()
    assert not settings.home.exists()


CHECKPOINTS = ("commonsense", "stem", "long_context", "agentic_base", "assistant", "agent")


def without_downloads(recipe: Recipe, folder: Path) -> Recipe:
    """Take text from a file, so that no source has to be asked for its revision."""
    text = folder / "text.txt"
    text.write_text("a few words\n")
    source = {"type": "files", "paths": [str(text)], "domain": "general"}
    return recipe.but(corpus={"sources": [source]})


def test_no_recipe_is_a_copy_of_another():
    lines = {
        path.stem: [line.strip() for line in path.read_text().splitlines() if line.strip()]
        for path in FOLDER.glob("*.py")
        if path.stem != "__init__"
    }
    for name, own in lines.items():
        for other, theirs in lines.items():
            if name != other:
                shared = sum(line in set(theirs) for line in own) / len(own)
                assert shared <= 0.8, (name, other, shared)


def test_an_unknown_recipe_gets_a_suggestion():
    with pytest.raises(NotFound, match=r"Did you mean toy\?"):
        shipped("tooy")


def test_resources_are_no_identity():
    toy = shipped("toy")
    moved = toy.but(resources={"default": Resources(device="cuda", processes=8)})
    assert moved.identity() == toy.identity()
    assert toy.but(agent={"seed": 1}).identity() != toy.identity()


def test_resources_fall_back_to_the_family_and_the_default():
    recipe = shipped("toy").but(
        resources={"default": Resources(), "scores": Resources(threads=3)},
    )
    assert recipe.resources_of("scores.agent").threads == 3
    assert recipe.resources_of("agent") == Resources()
    with pytest.raises(ValueError, match=r"did you mean agent\?"):
        shipped("toy").but(resources={"default": Resources(), "agnet": Resources()})


def test_zero_is_refused_beside_muon_before_anything_runs():
    with pytest.raises(BadInput, match="set matrix_learning_rate=null, or parallel=data"):
        resolve("ci", assignments=["resources.assistant.parallel=zero2"])
    changes = ["resources.assistant.parallel=zero2", "assistant.matrix_learning_rate=null"]
    recipe = resolve("ci", assignments=changes)
    assert recipe.assistant.matrix_learning_rate is None
    assert recipe.resources_of("assistant").parallel == "zero2"


def test_the_pipeline_is_readable_on_one_screen():
    path = FOLDER.parent / "pipeline.py"
    assert len(path.read_text().splitlines()) < 80
    steps: list[str] = []
    train_agentic_llm(shipped("ci"), lambda name, *_, **__: steps.append(name) or name)
    assert steps[0] == "corpus"
    assert steps[-1] == "release"
