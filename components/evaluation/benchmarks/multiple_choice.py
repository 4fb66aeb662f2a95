"""Multiple choice: the choice with the highest log-likelihood a token after the prompt is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.evaluation.items import Item
from components.evaluation.likelihood import Marked, best_choice, log_likelihoods
from components.model.transformer import YoutuModel
from components.tokenizer.contract import TextTokenizer

SCORE = "multiple_choice"


def score_multiple_choice(
    model: YoutuModel, tokenizer: TextTokenizer, records: Sequence[Mapping[str, Any]]
) -> list[Item]:
    """Score records {id, prompt, choices, answer}; a choice's text follows the prompt directly."""
    sequences: list[Marked] = []
    for record in records:
        prompt = [tokenizer.bos, *tokenizer.encode(record["prompt"])]
        for choice in record["choices"]:
            ids = tokenizer.encode(choice)
            sequences.append((prompt + ids, [0] * len(prompt) + [1] * len(ids)))
    return scored_choices(model, records, sequences, SCORE)


def scored_choices(
    model: YoutuModel,
    records: Sequence[Mapping[str, Any]],
    sequences: Sequence[Marked],
    score: str,
) -> list[Item]:
    """Compare each record's best choice with its answer; sequences hold all choices in order."""
    likelihoods = log_likelihoods(model, sequences)
    items: list[Item] = []
    start = 0
    for record in records:
        end = start + len(record["choices"])
        right = best_choice(likelihoods[start:end]) == record["answer"]
        items.append(Item(score, record["id"], float(right), record.get("family", "")))
        start = end
    return items
