"""The shape of a model. Imports no torch, so that recipes and plans stay fast."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import Field, PositiveFloat, PositiveInt

from components.contract import StageConfig

LATENT_NORM_EPS = 1e-6
"""Epsilon of the two latent norms, fixed by the architecture (paper.md 1.4, point 7)."""


class ModelConfig(StageConfig):
    """Shape a dense decoder with multi-head latent attention; the paper's 2B model by default.

    Values: Youtu-LLM-2B (arXiv 2512.24618) and the class `YoutuConfig` of `transformers`.
    """

    vocab_size: PositiveInt = 128_256
    """Rows of the embedding; equals the tokenizer's vocabulary."""
    hidden: PositiveInt = 2048
    """Width of the residual stream."""
    layers: PositiveInt = 32
    """Number of blocks."""
    heads: PositiveInt = 16
    """Attention heads; keys and values have as many."""
    q_rank: PositiveInt = 1536
    """Width of the query's latent."""
    kv_rank: PositiveInt = 512
    """Width of the latent that keys and values share, which is what generation caches."""
    nope_dim: PositiveInt = 128
    """Width of the part of a head's query and key that carries no position."""
    rope_dim: PositiveInt = Field(default=64, multiple_of=2)
    """Width of the rotated part of a head's query, and of the one rotated key of all heads."""
    v_dim: PositiveInt = 128
    """Width of a head's value."""
    mlp: PositiveInt = 6144
    """Width of the SwiGLU layer."""
    rope_base: PositiveFloat = 1_600_000.0
    """Base of the rotation's wavelengths."""
    norm_eps: PositiveFloat = 1e-6
    """Epsilon of the block norms."""
    max_positions: PositiveInt = 131_072
    """Longest sequence the model is meant for, in tokens."""
    init_std: PositiveFloat | None = None
    """Standard deviation of fresh matrices; None takes sqrt(2 / (5 hidden)), the authors' own."""
    tied: bool = True
    """Use the embedding as the output matrix."""

    @property
    def initial_std(self) -> float:
        """Standard deviation of fresh matrices; embeddings take twice as much (paper.md 1.2)."""
        return self.init_std or math.sqrt(2 / (5 * self.hidden))

    @property
    def qk_dim(self) -> int:
        """Width of a head's query and key."""
        return self.nope_dim + self.rope_dim

    @property
    def parameters(self) -> int:
        """Number of weights (formula of paper.md 1.5)."""
        attention = (
            self.hidden * (self.q_rank + self.kv_rank + self.rope_dim)
            + self.q_rank
            + self.q_rank * self.heads * self.qk_dim
            + self.kv_rank
            + self.kv_rank * self.heads * (self.nope_dim + self.v_dim)
            + self.heads * self.v_dim * self.hidden
        )
        layer = attention + 3 * self.hidden * self.mlp + 2 * self.hidden
        embeddings = self.vocab_size * self.hidden * (1 if self.tied else 2)
        return embeddings + self.layers * layer + self.hidden

    def to_hf(self) -> dict[str, Any]:
        """Return the `config.json` that `YoutuForCausalLM` reads.

        The rotary base is stated since the class falls back to 10,000 without it.
        """
        return {
            "architectures": ["YoutuForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": None,
            "embedding_initializer_range": 2 * self.initial_std,
            "eos_token_id": None,
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "initializer_range": self.initial_std,
            "intermediate_size": self.mlp,
            "kv_lora_rank": self.kv_rank,
            "max_position_embeddings": self.max_positions,
            "model_type": "youtu",
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.heads,
            "pad_token_id": None,
            "q_lora_rank": self.q_rank,
            "qk_nope_head_dim": self.nope_dim,
            "qk_rope_head_dim": self.rope_dim,
            "rms_norm_eps": self.norm_eps,
            "rope_interleave": True,
            "rope_parameters": {"rope_theta": self.rope_base, "rope_type": "default"},
            "tie_word_embeddings": self.tied,
            "v_head_dim": self.v_dim,
            "vocab_size": self.vocab_size,
        }

    @staticmethod
    def from_hf(stored: Mapping[str, Any]) -> ModelConfig:
        """Read what `to_hf` wrote; the initial spread is given explicitly."""
        return ModelConfig(
            vocab_size=stored["vocab_size"],
            hidden=stored["hidden_size"],
            layers=stored["num_hidden_layers"],
            heads=stored["num_attention_heads"],
            q_rank=stored["q_lora_rank"],
            kv_rank=stored["kv_lora_rank"],
            nope_dim=stored["qk_nope_head_dim"],
            rope_dim=stored["qk_rope_head_dim"],
            v_dim=stored["v_head_dim"],
            mlp=stored["intermediate_size"],
            rope_base=stored["rope_parameters"]["rope_theta"],
            norm_eps=stored["rms_norm_eps"],
            max_positions=stored["max_position_embeddings"],
            init_std=stored["initializer_range"],
            tied=stored["tie_word_embeddings"],
        )
