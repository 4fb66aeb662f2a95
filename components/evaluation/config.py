"""What the evaluation stage measures. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from components.artifacts.types import Checkpoint, Tasks, Tokenizer, TokenShards
from components.contract import Facts, StageConfig, StageInputs


class EvaluateConfig(StageConfig):
    """Configure the scores of one checkpoint; a count of 0 leaves that score out."""

    split: Literal["dev", "test"] = "test"
    """Items to score on: `dev` for choices, `test` for the final table."""
    episodes: NonNegativeInt = 250
    """Tasks solved greedily with tools, spread evenly over the families."""
    sampled_episodes: NonNegativeInt = 250
    """Tasks solved once at `temperature`."""
    text_tokens: NonNegativeInt = 20_000
    """Held-out tokens of each domain for bits per byte."""
    multiple_choice: NonNegativeInt = 200
    """Multiple-choice items, by length-normalised log-likelihood."""
    function_call: NonNegativeInt = 200
    """Items that ask for one tool call, compared exactly."""
    planning: NonNegativeInt = 200
    """Items that ask for the next step of a plan."""
    recovery: NonNegativeInt = 100
    """Tasks solved greedily whose first call is made to fail."""
    temperature: PositiveFloat = 1.0
    """Temperature of `sampled_episodes`."""
    max_turns: PositiveInt = 6
    """Assistant turns of one episode."""
    max_tokens: PositiveInt = 256
    """Tokens of one episode: prompt, generated tokens and tool responses."""
    max_turn_tokens: PositiveInt = 96
    """Generated tokens of one assistant turn; a model that rambles ends here."""
    context: PositiveInt = 256
    """Tokens of one window of held-out text."""
    sandbox_tier: Literal["bubblewrap", "landlock", "pods"] = "bubblewrap"
    """How commands that the model wrote are isolated."""
    describe_tools: bool = False
    """Put the tools' descriptions into the prompt."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Coverage of the intervals."""
    seed: int = 0
    """Seed of item selection, sampling noise and bootstrap."""


class EvaluateInputs(StageInputs):
    """Name what the evaluation stage reads."""

    checkpoint: Checkpoint
    tasks: Tasks
    shards: TokenShards
    tokenizer: Tokenizer


class EvaluateFacts(Facts):
    """Carry the scores for the catalog and for tracking."""

    scores: dict[str, float]
    """Score name to value."""
    items: int
    """Outcomes recorded."""
    split: str
    """Split the items came from."""
    infrastructure_failures: int
    """Episodes left out because a tool's machinery failed."""
