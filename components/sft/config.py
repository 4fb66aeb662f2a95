"""What supervised fine-tuning makes. Imports no torch."""

from __future__ import annotations

from pydantic import PositiveFloat, PositiveInt, model_validator

from components.artifacts.types import Checkpoint, Tokenizer, Trajectories
from components.contract import StageInputs
from components.training.config import TrainingConfig, TrainingFacts


class SftConfig(TrainingConfig):
    """Configure training on conversations with loss on the assistant's tokens only."""

    epochs: PositiveFloat = 2.0
    """Passes over the conversations of split `sft`; rounded up to whole steps."""
    sequence_length: PositiveInt = 256
    """Tokens of one sequence; whole conversations are packed into it."""
    learning_rate: PositiveFloat = 1e-3
    """Peak rate of AdamW: embedding, norms and output."""
    matrix_learning_rate: PositiveFloat | None = 0.005
    """Peak rate of Muon: the matrices of the blocks."""

    @model_validator(mode="after")
    def _fits_together(self) -> SftConfig:
        if self.batch_tokens % self.sequence_length:
            raise ValueError(
                f"batch_tokens ({self.batch_tokens}) is no multiple of "
                f"sequence_length ({self.sequence_length})"
            )
        return self


class SftInputs(StageInputs):
    """Read the checkpoint to start from and conversations (split `sft`)."""

    initial: Checkpoint
    trajectories: Trajectories
    tokenizer: Tokenizer


class SftFacts(TrainingFacts):
    """Tell what fine-tuning did, and how its conversations were packed."""

    conversations: int
    """Conversations that fit a sequence."""
    conversations_too_long: int
    """Conversations left out because they exceed the sequence length."""
    loss_tokens: int
    """Tokens that carry loss in one pass over the conversations."""
