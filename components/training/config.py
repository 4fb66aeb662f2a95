"""Settings that all training stages share: batch, learning rates and their course.

The paper names neither optimizer nor rates, batch or warm-up; every value here is ours. Imports no
torch.
"""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from components.contract import Facts, Resources, StageConfig


class TrainingConfig(StageConfig):
    """Configure the optimizers: Muon for the matrices of the blocks, AdamW for the rest."""

    batch_tokens: PositiveInt = 2048
    """Tokens of one optimizer step; a multiple of the sequence length."""
    learning_rate: PositiveFloat = 3e-3
    """Peak rate of AdamW: embedding, norms and output."""
    matrix_learning_rate: PositiveFloat | None = 0.02
    """Peak rate of Muon: the matrices of the blocks. `null` leaves them to AdamW."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled decay of all matrices, the embedding included."""
    gradient_clip: PositiveFloat = 1.0
    """Largest norm of the gradient; longer ones are scaled down."""
    warmup: float = Field(default=0.05, ge=0, le=1)
    """Share of the steps in which the rates rise linearly from zero."""
    decay: float = Field(default=0.3, ge=0, le=1)
    """Share of the steps, the last ones, in which the rates fall linearly to `floor`."""
    floor: float = Field(default=0.1, ge=0, le=1)
    """Rate at the end as a share of the peak."""
    seed: NonNegativeInt = 0
    """Seed of fresh weights and of the order of the data."""

    def refusal(self, resources: Resources) -> str | None:
        """Keep Muon away from ZeRO, which cuts matrices where ranks meet: Muon needs them whole."""
        if resources.parallel == "data" or self.matrix_learning_rate is None:
            return None
        return (
            f"parallel={resources.parallel} shares out AdamW's state, and this step trains with "
            "Muon: set matrix_learning_rate=null, or parallel=data"
        )


class TrainingFacts(Facts):
    """Tell what a training stage did to its weights."""

    steps: int
    """Optimizer steps of this stage."""
    tokens_seen: int
    """Tokens that went through the model in this stage."""
    total_tokens: int
    """Tokens the weights have seen in their whole life."""
    final_loss: float
    """Mean training loss of the last 20 accepted steps, in nats a token."""
    skipped_steps: int
    """Steps whose update a guard left out."""
    rollbacks: int
    """Times a guard went back to an earlier resume point."""
    parameters: int
    """Weights of the model."""
    data_seed: int
    """Seed that, with a position, decides each sequence."""
    bits_per_byte: dict[str, float] = Field(default_factory=dict[str, float])
    """Held-out bits a byte by domain at the end."""
