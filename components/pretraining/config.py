"""What a phase of pre-training makes. Imports no torch."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from components.artifacts.types import DOMAINS, Checkpoint, Tokenizer, TokenShards
from components.contract import StageInputs
from components.model.config import ModelConfig
from components.training.config import TrainingConfig, TrainingFacts


class PretrainConfig(TrainingConfig):
    """Configure next-token prediction on a mixture of text.

    One configuration serves the paper's three phases: general text at a constant rate, more science
    and code, then a falling rate and growing context.
    """

    model: ModelConfig
    """Shape of the model; with an initial checkpoint it must be the checkpoint's."""
    tokens: PositiveInt = 500_000
    """Budget; rounded up to whole steps."""
    sequence_length: PositiveInt = 256
    """Tokens of one sequence, at first."""
    growth: tuple[tuple[float, PositiveInt], ...] = ()
    """Later sequence lengths: (share of the tokens after which, length in tokens), in order."""
    mixture: dict[str, PositiveFloat] = Field(default={"general": 0.75, "stem": 0.15, "code": 0.1})
    """Share of each domain in the tokens; scaled to a sum of one."""

    heldout_tokens: NonNegativeInt = 16_384
    """Held-out tokens a domain that are scored; 0 scores none."""
    heldout_evaluations: NonNegativeInt = 3
    """Held-out scorings during the stage, beside the one at its end."""

    @model_validator(mode="after")
    def _fits_together(self) -> PretrainConfig:
        if unknown := sorted(set(self.mixture) - set(DOMAINS)):
            raise ValueError(f"mixture names {unknown[0]!r}; domains: {', '.join(DOMAINS)}")
        if not self.mixture:
            raise ValueError("mixture names no domain")
        shares = [share for share, _ in self.growth]
        if shares != sorted(set(shares)) or not all(0 < share < 1 for share in shares):
            raise ValueError("growth needs rising shares between 0 and 1")
        for length in (self.sequence_length, *(length for _, length in self.growth)):
            if self.batch_tokens % length:
                raise ValueError(
                    f"batch_tokens ({self.batch_tokens}) is no multiple of length {length}"
                )
            if length > self.model.max_positions:
                raise ValueError(
                    f"length {length} exceeds model.max_positions ({self.model.max_positions})"
                )
        return self


class PretrainInputs(StageInputs):
    """Read text as tokens, and the checkpoint to start from; without one, weights are fresh."""

    shards: TokenShards
    tokenizer: Tokenizer
    initial: Checkpoint | None = None


class PretrainFacts(TrainingFacts):
    """Tell what a phase of pre-training did."""
