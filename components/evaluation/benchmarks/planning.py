"""Planning: which of several assistant turns comes next, by log-likelihood a token.

In the manner of APTBench (arXiv 2510.24397): a choice between next actions can be scored for a base
model too, which cannot yet act by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.agents.conversation import Message, encode_choice
from components.evaluation.benchmarks.multiple_choice import scored_choices
from components.evaluation.items import Item
from components.evaluation.likelihood import Marked
from components.model.transformer import YoutuModel
from components.tokenizer.contract import TextTokenizer

SCORE = "planning"


def score_planning(
    model: YoutuModel, tokenizer: TextTokenizer, records: Sequence[Mapping[str, Any]]
) -> list[Item]:
    """Score records {id, messages, choices, answer} whose choices are assistant messages."""
    sequences: list[Marked] = []
    for record in records:
        messages = [Message.from_json(message) for message in record["messages"]]
        for choice in record["choices"]:
            sequences.append(encode_choice(messages, Message.from_json(choice), tokenizer))
    return scored_choices(model, records, sequences, SCORE)
