"""The clipped policy loss over sampled tokens, and the batches it is computed on.

Group-relative policy optimisation (Shao et al. 2024, arXiv 2402.03300) without its KL term, and
with one mean over all sampled tokens of a batch instead of one a rollout (Yu et al. 2025, arXiv
2503.14476, section 3.3), so that long rollouts weigh by their length. Left out: a reference model,
a critic, and any reward of format: a call that does not parse earns nothing anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from components.model.transformer import YoutuModel

TOKENS_A_FORWARD = 8_192
"""Padded tokens of one forward pass where the resources name no micro-batch."""


@dataclass(frozen=True)
class Episode:
    """Hold one rollout as training data: token ids, which of them were sampled, and how likely."""

    ids: list[int]
    sampled: list[int]
    logprobs: list[float]
    advantage: float

    @property
    def sampled_tokens(self) -> int:
        return sum(self.sampled)


@dataclass(frozen=True)
class MicroBatch:
    """Hold right-padded rows and, for each of N sampled tokens, where it is predicted from.

    Causal attention never looks at the padding on the right, so no mask is needed.
    """

    tokens_BT: torch.Tensor
    row_N: torch.Tensor
    column_N: torch.Tensor
    target_N: torch.Tensor
    old_logprob_N: torch.Tensor
    advantage_N: torch.Tensor


@dataclass(frozen=True)
class Measured:
    """Hold sums over sampled tokens, to be divided by `tokens`; `gap_max` is a maximum."""

    loss: float = 0.0
    clipped: float = 0.0
    gap_sum: float = 0.0
    gap_max: float = 0.0
    tokens: int = 0

    def plus(self, other: Measured) -> Measured:
        return Measured(
            self.loss + other.loss,
            self.clipped + other.clipped,
            self.gap_sum + other.gap_sum,
            max(self.gap_max, other.gap_max),
            self.tokens + other.tokens,
        )


def micro_batches(
    episodes: Sequence[Episode], *, rows: int = 0, device: torch.device | None = None
) -> list[MicroBatch]:
    """Group episodes of similar length: `rows` of them, or as many as fit `TOKENS_A_FORWARD`.

    Episodes without a sampled token are left out.
    """
    waiting = sorted(
        (episode for episode in episodes if episode.sampled_tokens),
        key=lambda episode: len(episode.ids),
        reverse=True,
    )
    batches: list[MicroBatch] = []
    start = 0
    while start < len(waiting):
        count = rows or max(1, TOKENS_A_FORWARD // len(waiting[start].ids))
        batches.append(_pad(waiting[start : start + count], device or torch.device("cpu")))
        start += count
    return batches


def _pad(episodes: Sequence[Episode], device: torch.device) -> MicroBatch:
    # The last token predicts nothing, so it is not fed.
    width = max(len(episode.ids) for episode in episodes) - 1
    tokens_BT = torch.zeros(len(episodes), width, dtype=torch.long)
    row: list[int] = []
    column: list[int] = []
    target: list[int] = []
    old: list[float] = []
    advantage: list[float] = []
    for index, episode in enumerate(episodes):
        fed = len(episode.ids) - 1
        tokens_BT[index, :fed] = torch.tensor(episode.ids[:fed])
        places = [place for place, flag in enumerate(episode.sampled) if flag and place > 0]
        row += [index] * len(places)
        column += [place - 1 for place in places]
        target += [episode.ids[place] for place in places]
        old += [episode.logprobs[place] for place in places]
        advantage += [episode.advantage] * len(places)
    return MicroBatch(
        tokens_BT.to(device),
        torch.tensor(row, device=device),
        torch.tensor(column, device=device),
        torch.tensor(target, device=device),
        torch.tensor(old, device=device),
        torch.tensor(advantage, device=device),
    )


def policy_logprobs(
    model: YoutuModel, batch: MicroBatch, *, temperature: float, forbidden_V: torch.Tensor
) -> torch.Tensor:
    """Return [N] log-probabilities of the sampled tokens under the sampler's own distribution.

    Same temperature and same forbidden tokens as in the rollout: the trainer's policy is the one
    that acted. Logits are computed where a token was sampled and nowhere else.
    """
    hidden_BTH = model.hidden(batch.tokens_BT)
    logits_NV = model.head(hidden_BTH[batch.row_N, batch.column_N]).float()
    logits_NV = logits_NV.masked_fill(forbidden_V, float("-inf")) / temperature
    at_N = logits_NV.gather(1, batch.target_N[:, None]).squeeze(1)
    return at_N - logits_NV.logsumexp(dim=-1)


def clipped_loss(
    logprob_N: torch.Tensor, batch: MicroBatch, clip: float
) -> tuple[torch.Tensor, Measured]:
    """Return the summed loss -min(r A, clip(r, 1-c, 1+c) A) and what was measured on the way.

    r is the ratio of the policy's probability to the sampler's (Schulman et al. 2017, arXiv
    1707.06347, eq. 7). A token counts as clipped where it passes no gradient.
    """
    difference_N = logprob_N - batch.old_logprob_N
    ratio_N = difference_N.exp()
    plain_N = ratio_N * batch.advantage_N
    bounded_N = ratio_N.clamp(1 - clip, 1 + clip) * batch.advantage_N
    loss = -torch.minimum(plain_N, bounded_N).sum()
    gap_N = difference_N.detach().abs()
    measured = Measured(
        loss=float(loss.detach()),
        clipped=float((bounded_N < plain_N).sum()),
        gap_sum=float(gap_N.sum()),
        gap_max=float(gap_N.max()) if len(gap_N) else 0.0,
        tokens=len(gap_N),
    )
    return loss, measured
