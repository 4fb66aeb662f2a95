"""Log-likelihoods of marked tokens, in padded batches of similar length."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from components.model.transformer import YoutuModel

TOKENS_A_FORWARD = 8_192
LOGITS_A_FORWARD = 32_000_000
"""Numbers held as logits at once, 128 MB in fp32."""

Marked = tuple[list[int], list[int]]
"""Token ids and a mask of equal length that is 1 on the tokens whose likelihood is wanted."""


@torch.no_grad()
def log_likelihoods(model: YoutuModel, sequences: Sequence[Marked]) -> list[tuple[float, int]]:
    """Return for each sequence the summed natural log-likelihood of its marked tokens and their
    number.

    The first token of a sequence has no prediction and is never counted. A sequence longer than the
    model's context loses tokens on its left.
    """
    limit = model.config.max_positions
    cut = [(ids[-limit:], mask[-limit:]) for ids, mask in sequences]
    order = sorted(range(len(cut)), key=lambda index: len(cut[index][0]))
    results: list[tuple[float, int]] = [(0.0, 0)] * len(cut)
    start = 0
    while start < len(order):
        end = _batch_end(cut, order, start)
        batch = order[start:end]
        for index, result in zip(batch, _score(model, [cut[i] for i in batch]), strict=True):
            results[index] = result
        start = end
    return results


def _batch_end(cut: Sequence[Marked], order: Sequence[int], start: int) -> int:
    """Return the end of the longest batch from `start` whose padded size stays in bounds."""
    end = start + 1
    while end < len(order):
        width = len(cut[order[end]][0])
        if (end + 1 - start) * width > TOKENS_A_FORWARD:
            break
        end += 1
    return end


def _score(model: YoutuModel, batch: Sequence[Marked]) -> list[tuple[float, int]]:
    device = next(model.parameters()).device
    width = max(len(ids) for ids, _ in batch)
    tokens_BT = torch.zeros(len(batch), width, dtype=torch.long)
    row: list[int] = []
    place: list[int] = []
    for index, (ids, mask) in enumerate(batch):
        tokens_BT[index, : len(ids)] = torch.tensor(ids)
        marked = [at for at in range(1, len(ids)) if mask[at]]
        row += [index] * len(marked)
        place += marked
    tokens_BT = tokens_BT.to(device)
    row_N, place_N = torch.tensor(row, device=device), torch.tensor(place, device=device)
    if not row:
        return [(0.0, 0)] * len(batch)
    hidden_NH = model.hidden(tokens_BT)[row_N, place_N - 1]
    target_N = tokens_BT[row_N, place_N]
    chunk = max(1, LOGITS_A_FORWARD // model.config.vocab_size)
    logprob_N = torch.cat(
        [
            _target_logprobs(model, hidden_NH[at : at + chunk], target_N[at : at + chunk])
            for at in range(0, len(row), chunk)
        ]
    )
    sums = torch.zeros(len(batch), dtype=torch.float64, device=device)
    sums.index_add_(0, row_N, logprob_N.double())
    counts = torch.bincount(row_N, minlength=len(batch))
    return list(zip(sums.tolist(), counts.tolist(), strict=True))


def _target_logprobs(
    model: YoutuModel, hidden_NH: torch.Tensor, target_N: torch.Tensor
) -> torch.Tensor:
    logits_NV = model.head(hidden_NH).float()
    return logits_NV.gather(1, target_N[:, None]).squeeze(1) - logits_NV.logsumexp(dim=-1)


def best_choice(likelihoods: Sequence[tuple[float, int]]) -> int:
    """Return the index of the highest log-likelihood a token; the first among equals."""
    means = [total / max(1, count) for total, count in likelihoods]
    return max(range(len(means)), key=lambda index: means[index])
