"""The decoder: embedding, blocks of latent attention and SwiGLU, tied output matrix.

Weights have the names of `YoutuForCausalLM` in `transformers`. Shapes: B batch, T time, H hidden
width, V vocabulary, M width of the SwiGLU layer. Left out: dropout and biases (the architecture has
none) and attention masks for padding, which causal attention needs on the left only.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from components.model.attention import (
    LatentAttention,
    LatentCache,
    Rotation,
    Within,
    within_documents,
)
from components.model.config import ModelConfig
from components.model.rotary import RotaryTable


class SwiGLU(nn.Module):
    """Compute down(silu(gate x) * up x)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden, config.mlp, bias=False)
        self.up_proj = nn.Linear(config.hidden, config.mlp, bias=False)
        self.down_proj = nn.Linear(config.mlp, config.hidden, bias=False)

    def forward(self, x_BTH: torch.Tensor) -> torch.Tensor:
        return self.down_proj(F.silu(self.gate_proj(x_BTH)) * self.up_proj(x_BTH))


class Block(nn.Module):
    """Add attention, then SwiGLU, each of the normed residual stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden, eps=config.norm_eps)
        self.self_attn = LatentAttention(config, layer)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden, eps=config.norm_eps)
        self.mlp = SwiGLU(config)

    def forward(
        self,
        x_BTH: torch.Tensor,
        rotation: Rotation,
        cache: LatentCache | None,
        within: Within | None,
    ) -> torch.Tensor:
        normed_BTH = self.input_layernorm(x_BTH)
        x_BTH = x_BTH + self.self_attn(normed_BTH, rotation, cache, within)
        return x_BTH + self.mlp(self.post_attention_layernorm(x_BTH))


class Decoder(nn.Module):
    """Hold what `transformers` calls `model`: everything but the output matrix."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden)
        self.layers = nn.ModuleList([Block(config, layer) for layer in range(config.layers)])
        self.norm = nn.RMSNorm(config.hidden, eps=config.norm_eps)


class YoutuModel(nn.Module):
    """Predict the next token; weights are unset until `initialize` or a checkpoint fills them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.lm_head = (
            None if config.tied else nn.Linear(config.hidden, config.vocab_size, bias=False)
        )
        self.rotary = RotaryTable(config.rope_dim, config.rope_base)

    def hidden(
        self,
        tokens_BT: torch.Tensor,
        cache: LatentCache | None = None,
        documents_BT: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the last normed hidden state [B, T, H]; a cache is read and advanced.

        With `documents_BT`, the number of each token's document, attention stays inside documents.
        """
        assert cache is None or documents_BT is None, "a cache holds one document a row"
        x_BTH = self.model.embed_tokens(tokens_BT)
        time = tokens_BT.shape[1]
        start = cache.length if cache is not None else 0
        rotation = self.rotary.at(start, time, device=x_BTH.device, dtype=x_BTH.dtype)
        within = None if documents_BT is None else within_documents(documents_BT, x_BTH.dtype)
        for block in self.model.layers:
            x_BTH = block(x_BTH, rotation, cache, within)
        if cache is not None:
            cache.advance(time)
        return self.model.norm(x_BTH)

    @property
    def output_VH(self) -> torch.Tensor:
        """The output matrix, which is the embedding where the two are tied."""
        return (self.model.embed_tokens if self.lm_head is None else self.lm_head).weight

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return logits [..., V] of hidden states [..., H]."""
        return F.linear(hidden, self.output_VH)

    def forward(self, tokens_BT: torch.Tensor, cache: LatentCache | None = None) -> torch.Tensor:
        """Return logits [B, T, V]."""
        return self.head(self.hidden(tokens_BT, cache))


@torch.no_grad()
def initialize(model: YoutuModel, seed: int) -> None:
    """Fill fresh weights: normal matrices, embeddings of twice the spread, norms at one.

    Spread sqrt(2 / (5 hidden)): the authors' own class (paper.md 1.2). The weights are a pure
    function of configuration and seed on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        if parameter.ndim == 1:
            parameter.fill_(1.0)
            continue
        spread = model.config.initial_std * (2.0 if "embed_tokens" in name else 1.0)
        fresh = torch.empty(parameter.shape).normal_(0.0, spread, generator=generator)
        parameter.copy_(fresh)
