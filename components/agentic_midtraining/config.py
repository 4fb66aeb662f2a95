"""What agentic mid-training makes. Imports no torch."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from components.artifacts.types import (
    DOMAINS,
    Checkpoint,
    Tokenizer,
    TokenShards,
    Trajectories,
)
from components.contract import StageInputs
from components.training.config import TrainingConfig, TrainingFacts


class AgenticMidtrainConfig(TrainingConfig):
    """Configure training on trajectories mixed with text."""

    tokens: PositiveInt = 700_000
    """Budget, trajectories and text together; rounded up to whole steps."""
    sequence_length: PositiveInt = 256
    """Tokens of one sequence; whole trajectories are packed into it."""
    trajectory_share: float = Field(default=0.6, gt=0, le=1)
    """Share of the sequences that hold trajectories (about 60 % in the paper)."""
    mixture: dict[str, PositiveFloat] = Field(default={"general": 0.5, "stem": 0.25, "code": 0.25})
    """Share of each domain in the text; scaled to a sum of one."""

    heldout_tokens: NonNegativeInt = 16_384
    """Held-out tokens a domain that are scored; 0 scores none."""
    heldout_evaluations: NonNegativeInt = 3
    """Held-out scorings during the stage, beside the one at its end."""

    @model_validator(mode="after")
    def _fits_together(self) -> AgenticMidtrainConfig:
        if unknown := sorted(set(self.mixture) - set(DOMAINS)):
            raise ValueError(f"mixture names {unknown[0]!r}; domains: {', '.join(DOMAINS)}")
        if self.trajectory_share < 1 and not self.mixture:
            raise ValueError("mixture names no domain")
        if self.batch_tokens % self.sequence_length:
            raise ValueError(
                f"batch_tokens ({self.batch_tokens}) is no multiple of "
                f"sequence_length ({self.sequence_length})"
            )
        return self


class AgenticMidtrainInputs(StageInputs):
    """Read the checkpoint to start from, trajectories (split `midtrain`) and text."""

    initial: Checkpoint
    trajectories: Trajectories
    shards: TokenShards
    tokenizer: Tokenizer


class AgenticMidtrainFacts(TrainingFacts):
    """Tell what mid-training did, and how its trajectories were packed."""

    trajectories: int
    """Trajectories that fit a sequence."""
    trajectories_too_long: int
    """Trajectories left out because they exceed the sequence length."""
    trajectory_epochs: float
    """Times the packed trajectories were seen."""
    padding_share: float
    """Share of padding in the packed sequences."""
    loss_share: float
    """Share of the packed trajectories' tokens that carry loss."""
