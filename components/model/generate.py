"""One step of generation with a cache."""

from __future__ import annotations

import torch

from components.model.attention import LatentCache
from components.model.transformer import YoutuModel


@torch.no_grad()
def next_hidden(model: YoutuModel, tokens_BT: torch.Tensor, cache: LatentCache) -> torch.Tensor:
    """Feed T new tokens a row and return the hidden state [B, H] that predicts the next one.

    The cache is advanced by T; `model.head` turns the state into logits.
    """
    return model.hidden(tokens_BT, cache)[:, -1]
