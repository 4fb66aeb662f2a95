"""Multi-head latent attention and the cache of its latents.

Shapes: B batch, T new tokens, L all tokens so far, H hidden width, N heads, Q query latent, C key
and value latent, D non-rotary width, R rotary width, V value width, E = C + R.

Two forms of one function. Several tokens: the latent is expanded to keys and values of every head.
One token after a cache: the expansion is folded into query and output instead, so that attention
works on the cached latents themselves (DeepSeek-V2, arXiv 2405.04434, section 2.1.2); nothing of
size L x N x D is ever built.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from components.model.config import LATENT_NORM_EPS, ModelConfig
from components.model.rotary import rotate

Rotation = tuple[torch.Tensor, torch.Tensor]


DENSE_MASK_TOKENS = 2048
"""Longest sequence whose document mask is held as T x T numbers; longer ones go span by span."""

Within = torch.Tensor | list[tuple[int, int]]
"""What keeps attention inside documents: numbers [B, 1, T, T] to add to scores, or spans."""


def within_documents(documents_BT: torch.Tensor, dtype: torch.dtype) -> Within:
    """Return a mask (0 for earlier tokens of the same document, else -inf), or, for long sequences,
    the (start, end) of every document in the flattened batch.

    `documents_BT` numbers the document of each token; a document lies in one piece.
    """
    batch, time = documents_BT.shape
    if time <= DENSE_MASK_TOKENS:
        same_BTT = documents_BT[:, :, None] == documents_BT[:, None, :]
        mask_BTT = torch.full(same_BTT.shape, float("-inf"), dtype=dtype, device=same_BTT.device)
        return mask_BTT.masked_fill_(same_BTT.tril(), 0.0)[:, None]
    begins_BT = torch.ones_like(documents_BT, dtype=torch.bool)
    begins_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    starts: list[int] = begins_BT.flatten().nonzero().squeeze(1).tolist()
    return list(pairwise([*starts, batch * time]))


class LatentCache:
    """Hold latent and rotated key of every layer; all rows stand at one position, `length`.

    One number row per token and layer: C of the latent, then R of the rotated key.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        capacity: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        width = config.kv_rank + config.rope_dim
        self.capacity = capacity
        self.length = 0
        # Zeros, not empty memory: the masked product of a stray NaN is NaN.
        self.entries_YBLE = torch.zeros(
            config.layers, batch, capacity, width, device=device, dtype=dtype
        )

    def append(self, layer: int, entry_BTE: torch.Tensor) -> torch.Tensor:
        """Write new tokens of one layer; return all of its entries so far, [B, L, E].

        Raises ValueError when the cache is full. `advance` moves on, once all layers have written.
        """
        end = self.length + entry_BTE.shape[1]
        if end > self.capacity:
            raise ValueError(f"{end} tokens in a cache for {self.capacity}")
        self.entries_YBLE[layer, :, self.length : end] = entry_BTE
        return self.entries_YBLE[layer, :, :end]

    def advance(self, count: int) -> None:
        """Count `count` tokens that all layers have written."""
        self.length += count

    def select(self, rows: torch.Tensor) -> None:
        """Keep the rows given by index, in that order."""
        self.entries_YBLE = self.entries_YBLE.index_select(1, rows)


class LatentAttention(nn.Module):
    """Attend causally through a shared latent; weights carry the names of `YoutuForCausalLM`."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        self.layer = layer
        self.scale = config.qk_dim**-0.5
        hidden, heads = config.hidden, config.heads
        self.q_a_proj = nn.Linear(hidden, config.q_rank, bias=False)
        self.q_a_layernorm = nn.RMSNorm(config.q_rank, eps=LATENT_NORM_EPS)
        self.q_b_proj = nn.Linear(config.q_rank, heads * config.qk_dim, bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(hidden, config.kv_rank + config.rope_dim, bias=False)
        self.kv_a_layernorm = nn.RMSNorm(config.kv_rank, eps=LATENT_NORM_EPS)
        self.kv_b_proj = nn.Linear(
            config.kv_rank, heads * (config.nope_dim + config.v_dim), bias=False
        )
        self.o_proj = nn.Linear(heads * config.v_dim, hidden, bias=False)

    def forward(
        self,
        x_BTH: torch.Tensor,
        rotation: Rotation,
        cache: LatentCache | None = None,
        within: Within | None = None,
    ) -> torch.Tensor:
        """Return [B, T, H]; `rotation` holds cosines and sines of the T new positions.

        `within` keeps attention inside documents.
        """
        config = self.config
        batch, time, _ = x_BTH.shape
        cos_TR, sin_TR = rotation
        q_BTQ = self.q_a_layernorm(self.q_a_proj(x_BTH))
        q_BTNK = self.q_b_proj(q_BTQ).view(batch, time, config.heads, config.qk_dim)
        q_nope_BTND, q_rope_BTNR = q_BTNK.split((config.nope_dim, config.rope_dim), dim=-1)
        q_rope_BTNR = rotate(q_rope_BTNR, cos_TR[:, None], sin_TR[:, None])
        latent_BTC, k_rope_BTR = self.kv_a_proj_with_mqa(x_BTH).split(
            (config.kv_rank, config.rope_dim), dim=-1
        )
        latent_BTC = self.kv_a_layernorm(latent_BTC)
        k_rope_BTR = rotate(k_rope_BTR, cos_TR, sin_TR)
        if cache is not None:
            entry_BTE = torch.cat((latent_BTC, k_rope_BTR), dim=-1)
            entries_BLE = cache.append(self.layer, entry_BTE)
            if time == 1:
                return self._absorbed(q_nope_BTND, q_rope_BTNR, entries_BLE)
            latent_BTC, k_rope_BTR = entries_BLE.split((config.kv_rank, config.rope_dim), dim=-1)
        q_BTNK = torch.cat((q_nope_BTND, q_rope_BTNR), dim=-1)
        return self._expanded(q_BTNK, latent_BTC, k_rope_BTR, within)

    def _expanded(
        self,
        q_BTNK: torch.Tensor,
        latent_BLC: torch.Tensor,
        k_rope_BLR: torch.Tensor,
        within: Within | None,
    ) -> torch.Tensor:
        config = self.config
        batch, time = q_BTNK.shape[:2]
        length = latent_BLC.shape[1]
        kv_BLN = self.kv_b_proj(latent_BLC).view(batch, length, config.heads, -1)
        k_nope_BLND, v_BLNV = kv_BLN.split((config.nope_dim, config.v_dim), dim=-1)
        shared_BLNR = k_rope_BLR[:, :, None].expand(-1, -1, config.heads, -1)
        k_BLNK = torch.cat((k_nope_BLND, shared_BLNR), dim=-1)
        if isinstance(within, list):
            q_1SNK, k_1SNK, v_1SNV = (x.flatten(0, 1)[None] for x in (q_BTNK, k_BLNK, v_BLNV))
            pieces = [
                self._attend(q_1SNK[:, a:z], k_1SNK[:, a:z], v_1SNV[:, a:z], None)
                for a, z in within
            ]
            return self.o_proj(torch.cat(pieces, dim=1).view(batch, time, -1))
        if length > time:
            ones_TL = torch.ones(time, length, dtype=torch.bool, device=q_BTNK.device)
            within = ones_TL.tril(length - time)
        return self.o_proj(self._attend(q_BTNK, k_BLNK, v_BLNV, within))

    def _attend(
        self,
        q_BTNK: torch.Tensor,
        k_BLNK: torch.Tensor,
        v_BLNV: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return [B, T, N * V]; causal without a mask."""
        out_BNTV = F.scaled_dot_product_attention(
            q_BTNK.transpose(1, 2),
            k_BLNK.transpose(1, 2),
            v_BLNV.transpose(1, 2),
            attn_mask=mask,
            is_causal=mask is None,
            scale=self.scale,
        )
        return out_BNTV.transpose(1, 2).flatten(2)

    def _absorbed(
        self, q_nope_B1ND: torch.Tensor, q_rope_B1NR: torch.Tensor, entries_BLE: torch.Tensor
    ) -> torch.Tensor:
        config = self.config
        batch = len(entries_BLE)
        kv_b_NKC = self.kv_b_proj.weight.view(config.heads, -1, config.kv_rank)
        to_key_NDC = kv_b_NKC[:, : config.nope_dim]
        to_value_NVC = kv_b_NKC[:, config.nope_dim :]
        q_latent_NBC = torch.bmm(q_nope_B1ND[:, 0].transpose(0, 1), to_key_NDC)
        q_BNE = torch.cat((q_latent_NBC.transpose(0, 1), q_rope_B1NR[:, 0]), dim=-1)
        scores_BNL = torch.bmm(q_BNE, entries_BLE.transpose(1, 2)) * self.scale
        weights_BNL = scores_BNL.float().softmax(dim=-1).to(scores_BNL.dtype)
        mixed_BNC = torch.bmm(weights_BNL, entries_BLE[..., : config.kv_rank])
        out_NBV = torch.bmm(mixed_BNC.transpose(0, 1), to_value_NVC.transpose(1, 2))
        return self.o_proj(out_NBV.transpose(0, 1).reshape(batch, 1, -1))
