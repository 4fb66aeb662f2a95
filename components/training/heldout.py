"""Bits per byte of held-out text during training: one number a domain, comparable between
tokenizers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from components.artifacts.types import DOMAINS
from components.contract import StageContext
from components.model.transformer import YoutuModel
from components.shards.loader import Shards
from components.training.loop import AfterStep, StepReport
from components.training.loss import document_batch, next_token_loss

TOKENS_A_FORWARD = 4_096


@torch.no_grad()
def bits_per_byte(
    model: YoutuModel, tokens: np.ndarray, n_bytes: int, *, bos: int, length: int
) -> float:
    """Return the bits that the model spends on a stream of documents, by their bytes.

    The stream is read in windows of `length` tokens, each of which starts afresh; every token but
    the first is predicted once. Predicting `bos`, which no byte of text stands for, costs nothing.
    """
    device = next(model.parameters()).device
    nats = 0.0
    rows = max(1, TOKENS_A_FORWARD // length)
    whole = (len(tokens) - 1) // length
    starts = [at * length for at in range(whole)]
    groups = [starts[at : at + rows] for at in range(0, whole, rows)]
    windows = [np.stack([tokens[at : at + length + 1] for at in group]) for group in groups]
    if (len(tokens) - 1) % length:
        windows.append(tokens[None, whole * length :])
    for window in windows:
        ids_BS = torch.from_numpy(window.astype(np.int64)).to(device)
        loss, _ = next_token_loss(model, document_batch(ids_BS, ids_BS[:, 1:] != bos, bos=bos))
        nats += float(loss)
    return nats / math.log(2) / n_bytes


class HeldoutScores:
    """Score the held-out text of every domain that has some; 0 tokens score nothing."""

    def __init__(
        self, model: YoutuModel, shards: Shards, *, bos: int, length: int, tokens: int
    ) -> None:
        self.model = model
        self.bos = bos
        self.length = length
        found = {domain: shards.heldout(domain, tokens) for domain in DOMAINS} if tokens else {}
        self.texts = {domain: text for domain, text in found.items() if text[1] > 0}

    def scores(self) -> dict[str, float]:
        """Return bits per byte by domain."""
        return {
            domain: bits_per_byte(self.model, tokens, size, bos=self.bos, length=self.length)
            for domain, (tokens, size) in self.texts.items()
        }

    def during(self, context: StageContext, evaluations: int) -> AfterStep:
        """Return a function that scores, at so many evenly spaced steps before the last."""

        def score(report: StepReport) -> None:
            parts = evaluations + 1
            due = {round(part * report.steps / parts) for part in range(1, parts)} - {report.steps}
            if context.rank == 0 and report.step in due:
                journal_scores(context, report.step, self.scores())

        return score


def journal_scores(context: StageContext, step: int, scores: Mapping[str, float]) -> None:
    """Report bits per byte by domain at an optimizer step."""
    if scores:
        named = {f"eval__bits_per_byte__{domain}": value for domain, value in scores.items()}
        context.journal.metric(step, **named)
