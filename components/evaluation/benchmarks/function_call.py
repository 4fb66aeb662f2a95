"""Function calling: the first call to a question, written greedily and compared exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.agents.conversation import (
    END_CALL,
    END_OF_TEXT,
    Conversation,
    MalformedTurn,
    Message,
    encode_prompt,
    parse_assistant,
)
from components.agents.inference import Engine, Row, Sampling
from components.evaluation.items import Item
from components.tokenizer.contract import TextTokenizer

SCORE = "function_call"


def score_function_call(
    engine: Engine,
    tokenizer: TextTokenizer,
    records: Sequence[Mapping[str, Any]],
    *,
    max_turn_tokens: int,
) -> list[Item]:
    """Score records {id, messages, answer}: name and arguments of the first call must be equal."""
    rows = [_row(record, tokenizer) for record in records]
    longest = max((len(row.ids) for row in rows), default=0)
    sampling = Sampling(
        stop=frozenset(tokenizer.special[token] for token in (END_CALL, END_OF_TEXT)),
        max_tokens=longest + max_turn_tokens,
        max_turn_tokens=max_turn_tokens,
    )
    engine.generate(rows, lambda stopped: [None] * len(stopped), sampling)
    return [
        Item(SCORE, record["id"], float(_right(row, record, tokenizer)), record.get("family", ""))
        for record, row in zip(records, rows, strict=True)
    ]


def _row(record: Mapping[str, Any], tokenizer: TextTokenizer) -> Row:
    messages = tuple(Message.from_json(message) for message in record["messages"])
    return Row(record["id"], encode_prompt(Conversation(messages), tokenizer))


def _right(row: Row, record: Mapping[str, Any], tokenizer: TextTokenizer) -> bool:
    written = row.ids[len(row.ids) - row.turn_tokens :]
    try:
        turn = parse_assistant(written, tokenizer)
    except MalformedTurn:
        return False
    return bool(turn.tool_calls) and turn.tool_calls[0].to_json() == record["answer"]
