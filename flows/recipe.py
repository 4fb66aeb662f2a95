"""A recipe: the configuration of every step, and where each step is made.

Configurations are identity and resources are circumstance, so the same recipe on another machine
finds the same artifacts. Shipped recipes are functions in `flows/recipes/`; a user's changes are
laid over one of them here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from components.agentic_midtraining.config import AgenticMidtrainConfig
from components.artifacts.identity import canonical_json, sha256_text
from components.contract import NotFound, Resources, StageConfig
from components.corpus.config import CorpusConfig
from components.evaluation.config import EvaluateConfig
from components.export.config import ExportConfig
from components.pretraining.config import PretrainConfig
from components.rl.config import RlConfig
from components.settings import Settings
from components.sft.config import SftConfig
from components.shards.config import ShardsConfig
from components.tasks.config import TasksConfig
from components.tokenizer.config import TokenizerConfig
from components.trajectories.config import TrajectoriesConfig
from flows.overlay import apply, read_assignment, read_environment, read_file, suggest

RECIPES = ("ci", "toy", "small", "two_billion")
"""Names of the shipped recipes, by size."""


class Recipe(BaseModel):
    """Hold the configuration of every step of the pipeline."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """Name under which runs of this recipe are listed."""
    corpus: CorpusConfig
    """Documents: sources, filters and the held-out split."""
    tokenizer: TokenizerConfig
    """Vocabulary and chat template."""
    tasks: TasksConfig
    """Tasks of every environment and benchmark."""
    shards: ShardsConfig
    """Training text as tokens, decontaminated."""
    commonsense: PretrainConfig
    """First phase of pre-training: mostly general text."""
    stem: PretrainConfig
    """Second phase: more science and code."""
    long_context: PretrainConfig
    """Third phase: longer sequences, decaying rate."""
    trajectories: TrajectoriesConfig
    """Executed and verified conversations of the teacher."""
    agentic_base: AgenticMidtrainConfig | PretrainConfig
    """Agentic mid-training; a pre-training configuration makes the control of the ablation."""
    assistant: SftConfig
    """Supervised fine-tuning."""
    agent: RlConfig
    """Reinforcement learning with executed tools."""
    text_scores: EvaluateConfig
    """Scores of commonsense, stem and long_context."""
    agent_scores: EvaluateConfig
    """Scores of agentic_base, assistant and agent."""
    release: ExportConfig
    """The Hugging Face folder."""
    resources: dict[str, Resources] = {"default": Resources()}
    """Where each step is made: `default`, a step's name, or `scores` for all scoring steps."""

    @model_validator(mode="after")
    def _resources_name_steps(self) -> Recipe:
        known = {"default", "scores", *STEP_FIELDS}
        for name in self.resources:
            if name not in known:
                best = suggest(name, known)
                hint = f"; did you mean {best[0]}?" if best else ""
                raise ValueError(f"resources names a step that does not exist: {name}{hint}")
        if "default" not in self.resources:
            raise ValueError("resources needs an entry `default`")
        for step in STEP_FIELDS:
            refusal = getattr(self, step).refusal(self.resources_of(step))
            if refusal:
                raise ValueError(f"step {step}: {refusal}")
        return self

    def resources_of(self, step: str) -> Resources:
        """Return the resources of a step: its own, those of `scores` for a scoring step, or the
        default.
        """
        family = step.partition(".")[0]
        return self.resources.get(step) or self.resources.get(family) or self.resources["default"]

    def but(self, **changes: Any) -> Recipe:
        """Return the recipe with other values: for a step the fields that change, as a dict.

        Raises ValidationError where they do not fit.
        """
        values = self.model_dump()
        for name, change in changes.items():
            both = isinstance(change, dict) and isinstance(values.get(name), dict)
            values[name] = _merged(values[name], change) if both else change
        return Recipe.model_validate(values)

    def resolved(self) -> dict[str, Any]:
        """Return everything as plain JSON values, defaults included."""
        return self.model_dump(mode="json")

    def identity(self) -> str:
        """Return the SHA-256 of everything but the resources."""
        return sha256_text(canonical_json(self.model_dump(mode="json", exclude={"resources"})))


def _merged(values: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `change` over `values`; models merge, mixtures and the like are replaced."""
    merged = dict(values)
    for name, value in change.items():
        inner = name in {"model", "counts", "benchmarks"} and isinstance(value, dict)
        merged[name] = _merged(merged[name], value) if inner else value
    return merged


STEP_FIELDS = tuple(
    name
    for name in Recipe.model_fields
    if name not in {"name", "resources", "text_scores", "agent_scores"}
)


def shipped(name: str) -> Recipe:
    """Return a shipped recipe; raises NotFound, with a suggestion, for another name."""
    if name not in RECIPES:
        best = suggest(name, RECIPES, least=0.3)
        hint = f" Did you mean {best[0]}?" if best else ""
        raise NotFound(f"there is no recipe {name!r}.{hint} Recipes: {', '.join(RECIPES)}.")
    return getattr(import_module(f"flows.recipes.{name}"), name)()


def resolve(
    name: str,
    *,
    file: Path | None = None,
    assignments: Iterable[str] = (),
    settings: Settings | None = None,
) -> Recipe:
    """Return a shipped recipe with the user's changes: file, then STRATA_SET, then `--set`.

    Raises NotFound for an unknown recipe and BadInput for a change that does not fit.
    """
    changes = read_file(file, Recipe) if file else []
    changes += read_environment(settings.set if settings else "")
    changes += [read_assignment(text) for text in assignments]
    recipe = shipped(name)
    return apply(recipe, changes) if changes else recipe


def with_seed(recipe: Recipe, seed: int) -> Recipe:
    """Return the recipe with another seed in every step that trains; the data stays the same."""
    trained = ("commonsense", "stem", "long_context", "agentic_base", "assistant", "agent")
    changed: dict[str, StageConfig] = {
        step: getattr(recipe, step).model_copy(update={"seed": seed}) for step in trained
    }
    return recipe.model_copy(update=changed)
