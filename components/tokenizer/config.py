"""What the tokenizer is. Imports no tokenizer library."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from components.artifacts.types import DOMAINS, Corpus
from components.contract import Facts, StageConfig, StageInputs


class TokenizerConfig(StageConfig):
    """Configure byte-level BPE with the paper's pre-tokenizer."""

    vocab_size: int = Field(default=128_256, ge=272)
    """Ids in all. The last 256 are kept for special tokens, the last 16 below 32,768."""
    sample_bytes: PositiveInt = 500_000_000
    """UTF-8 bytes of training text that merges are learned from, over all domains."""
    weights: dict[str, PositiveFloat] = Field(default={"general": 0.5, "stem": 0.25, "code": 0.25})
    """Share of each domain in `sample_bytes`; a domain with less text gives what it has."""
    report_bytes: PositiveInt = 1_000_000
    """UTF-8 bytes of held-out text a domain, on which compression is measured."""
    seed: NonNegativeInt = 0
    """Chooses the sample."""

    @model_validator(mode="after")
    def _domains_exist(self) -> TokenizerConfig:
        if unknown := sorted(set(self.weights) - set(DOMAINS)):
            raise ValueError(f"weights names {unknown[0]!r}; domains: {', '.join(DOMAINS)}")
        if not self.weights:
            raise ValueError("weights names no domain")
        return self


class TokenizerInputs(StageInputs):
    """Read the text that merges are learned from."""

    corpus: Corpus


class TokenizerFacts(Facts):
    """Tell how large the vocabulary is and how well it compresses."""

    vocab_size: int
    """Ids in all, special ones included."""
    sampled_bytes: int
    """UTF-8 bytes the merges were learned from."""
    bytes_per_token: dict[str, float]
    """Held-out UTF-8 bytes a token, by domain; a domain without held-out text is left out."""
    contract: str
    """Digest that a checkpoint trained with this tokenizer carries."""
