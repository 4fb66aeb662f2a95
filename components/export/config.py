"""What a released model is. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.artifacts.types import Checkpoint, Scores, Tokenizer
from components.contract import Facts, StageConfig, StageInputs


class ExportConfig(StageConfig):
    """Configure the Hugging Face folder."""

    name: str = Field(default="strata-toy", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the model on its card and in a registry."""
    license: str = "other"
    """SPDX identifier or `other`, for the card's header."""
    license_text: str = "The licences of the training sources apply; see the certificate's inputs."
    """One paragraph on terms of use, for the card."""
    description: str = ""
    """One paragraph on what the model is for; empty takes a neutral one."""
    language: str = "en"
    """Language code for the card's header."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Format of the released weights; the check against our own model is made in float32."""
    verify_tokens: int = Field(default=48, ge=2)
    """Tokens of each sequence on which both implementations are compared."""
    temperature: float = Field(default=0.7, ge=0)
    """Advised sampling temperature in generation_config.json."""
    describe_tools: bool = False
    """Whether prompts describe the tools, as in training; stated in generation_config.json."""


class ExportInputs(StageInputs):
    """Name what the export stage reads."""

    checkpoint: Checkpoint
    tokenizer: Tokenizer
    scores: tuple[Scores, ...] = ()


class ExportFacts(Facts):
    """Tell what was released and how well it was checked."""

    name: str
    """Name of the model."""
    parameters: int
    """Weights of the model, tied ones counted once."""
    bytes: int
    """Size of the weights file."""
    largest_logit_difference: float
    """Largest absolute difference between our logits and those of `transformers`, in float32."""
    tokens_seen: int
    """Tokens trained on in all steps before."""
