"""What the RL stage makes: the identity of one multi-turn GRPO run. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from components.artifacts.types import Checkpoint, Tasks, Tokenizer
from components.contract import Facts, StageConfig, StageInputs


class RlConfig(StageConfig):
    """Configure group-relative policy optimisation over tool-using episodes.

    The algorithm, group size and learning rate of the paper are not published; all values here are
    ours.
    """

    steps: PositiveInt = 50
    """Batches of rollouts; each is followed by `optimizer_steps_per_batch` updates."""
    groups_per_step: PositiveInt = 32
    """Prompts of one batch; each is answered `group_size` times."""
    group_size: int = Field(default=8, ge=2)
    """Rollouts of one prompt, among which rewards are compared."""
    temperature: PositiveFloat = 1.0
    """Sampling temperature; the trainer's log-probabilities use the same one."""
    clip: float = Field(default=0.2, gt=0, lt=1)
    """Half-width of the interval around 1 in which a probability ratio still moves the weights."""
    normalize_advantages: bool = True
    """Divide a group's centred rewards by their standard deviation."""
    learning_rate: PositiveFloat = 3e-4
    """Rate of AdamW, constant after `warmup_steps`."""
    warmup_steps: int = Field(default=0, ge=0)
    """Optimizer steps over which the rate rises linearly."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled decay of AdamW."""
    gradient_clip: PositiveFloat = 1.0
    """Largest norm of the gradient; longer ones are scaled down."""
    optimizer_steps_per_batch: PositiveInt = 2
    """Updates on each batch; from the second on, the clipped ratio differs from 1."""
    max_turns: PositiveInt = 6
    """Assistant turns of one episode."""
    max_tokens: PositiveInt = 256
    """Tokens of one episode: prompt, sampled tokens and tool responses."""
    max_turn_tokens: PositiveInt = 96
    """Sampled tokens of one assistant turn."""
    recovery_share: float = Field(default=0.0, ge=0, le=1)
    """Share of prompts whose first tool call fails with a transient error."""
    families: tuple[str, ...] = ()
    """Task families to train on; empty means all."""
    sandbox_tier: Literal["bubblewrap", "landlock", "pods"] = "bubblewrap"
    """How commands that the model wrote are isolated."""
    describe_tools: bool = False
    """Put the tools' descriptions into the prompt; needs a context that can hold them."""
    seed: int = 0
    """Seed of prompts and sampling noise."""


class RlInputs(StageInputs):
    """Name what the RL stage reads."""

    initial: Checkpoint
    tasks: Tasks
    tokenizer: Tokenizer


class RlFacts(Facts):
    """Tell how training went; the scores of the result are the evaluation stage's."""

    steps: int
    """Batches of rollouts trained on or passed over for lack of spread."""
    rollouts: int
    """Episodes sampled."""
    sampled_tokens: int
    """Tokens the policy sampled."""
    live_group_share: float
    """Share of groups whose rewards differed, over all steps."""
    reward_first: float
    """Mean reward over the first tenth of the steps."""
    reward_last: float
    """Mean reward over the last tenth of the steps."""
    parsed_call_share: float
    """Share of tool calls that parsed, over the last tenth of the steps."""
    infrastructure_failures: int
    """Rollouts left out because a tool's machinery failed."""
