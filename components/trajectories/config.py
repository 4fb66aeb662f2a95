"""Configuration, inputs and facts of the stage `trajectories`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from components.artifacts.types import Corpus, Tasks, Tokenizer
from components.contract import Facts, StageConfig, StageInputs

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class TrajectoriesConfig(StageConfig):
    """Choose amounts, styles and mistakes."""

    seed: NonNegativeInt = 0
    teacher: Literal["scripted"] = "scripted"
    """Who solves the tasks: a script per family with controlled mistakes."""
    midtrain: NonNegativeInt = 6000
    """Conversations of the split midtrain; tasks are used again, with other mistakes, when they run
    out.
    """
    sft: NonNegativeInt = 400
    """Conversations of the split sft: direct style, each task once."""
    error_rate: Share = 0.25
    """Share of midtrain conversations with a wrong or failing call before the right one."""
    sft_error_rate: Share = 0.0
    """The same for the split sft."""
    branch_rate: Share = 0.5
    """Share of conversations with an error whose undisturbed parent is kept too."""
    transient_share: Share = 0.4
    """Share of errors that are no mistake but a tool failing once."""
    agentic_cot_share: Share = 0.15
    """Share of midtrain conversations that reason in five marked phases."""
    describe_tools: bool = False
    """Whether the prompt describes the tools; a context of 256 tokens cannot hold them."""
    max_tokens: NonNegativeInt = 0
    """Longest conversation kept, in tokens; 0 keeps all."""
    sandbox_tier: Literal["bubblewrap", "landlock", "pods"] = "bubblewrap"
    """Isolation that commands run under; a tier this machine lacks exits 3."""


class TrajectoriesInputs(StageInputs):
    """Take the tasks, and the tokenizer to count tokens with."""

    corpus: Corpus
    tokenizer: Tokenizer
    tasks: Tasks


class TrajectoriesFacts(Facts):
    """Count what was verified, dropped and kept."""

    conversations: dict[str, int]
    """Kept conversations by split."""
    families: dict[str, dict[str, int]]
    """Kept conversations by split and family."""
    tokens: dict[str, int]
    """Tokens by split."""
    trained_tokens: dict[str, int]
    """Tokens that loss falls on, by split."""
    dropped: dict[str, int]
    """Conversations left out, by cause."""
