"""Bits per byte of held-out text: comparable between tokenizers, which loss per token is not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from components.evaluation.items import Item
from components.evaluation.likelihood import Marked, log_likelihoods
from components.model.transformer import YoutuModel
from components.tokenizer.contract import TextTokenizer

SCORE = "bits_per_byte"


def score_text(
    model: YoutuModel,
    tokenizer: TextTokenizer,
    tokens: Sequence[int],
    *,
    domain: str,
    context: int,
) -> list[Item]:
    """Return one item a document: its bits a byte, weighted by its bytes.

    `tokens` holds documents that each begin with the tokenizer's `bos`. A document is read in
    windows of `context` tokens, of which all but the first are predicted; the next window begins
    with the last token of the one before, so that every token is predicted once.
    """
    documents = list(_documents(tokens, tokenizer.bos))
    sequences: list[Marked] = []
    owner: list[int] = []
    for index, document in enumerate(documents):
        for window in _windows([tokenizer.bos, *document], context):
            sequences.append((window, [0] + [1] * (len(window) - 1)))
            owner.append(index)
    bits = [0.0] * len(documents)
    for index, (total, _) in zip(owner, log_likelihoods(model, sequences), strict=True):
        bits[index] -= total / math.log(2)
    sizes = [len(tokenizer.decode(document).encode()) for document in documents]
    return [
        Item(f"{SCORE}/{domain}", f"{domain}-{index}", spent / size, weight=float(size))
        for index, (spent, size) in enumerate(zip(bits, sizes, strict=True))
        if size
    ]


def _documents(tokens: Sequence[int], bos: int) -> Iterator[list[int]]:
    document: list[int] = []
    for token in tokens:
        if token != bos:
            document.append(int(token))
        elif document:
            yield document
            document = []
    if document:
        yield document


def _windows(tokens: list[int], context: int) -> Iterator[list[int]]:
    for start in range(0, len(tokens) - 1, context - 1):
        yield tokens[start : start + context]
