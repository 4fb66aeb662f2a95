from pathlib import Path

import pytest

from components.agents.conversation import ToolCall
from components.serving.turn_reader import TurnReader
from components.tokenizer.contract import TextTokenizer, build, load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    build(folder)
    return load_tokenizer(folder)


def read(tokenizer: TextTokenizer, *pieces: str) -> tuple[list[tuple[str, str]], TurnReader]:
    reader = TurnReader(tokenizer)
    texts: list[tuple[str, str]] = []
    for piece in pieces:
        special = tokenizer.special.get(piece)
        for token in [special] if special is not None else tokenizer.encode(piece):
            texts += reader.feed(token)
    if not reader.ended:
        texts += reader.close()
    return texts, reader


def joined(texts: list[tuple[str, str]], part: str) -> str:
    return "".join(text for name, text in texts if name == part)


def test_reasoning_content_and_call_are_told_apart(tokenizer: TextTokenizer) -> None:
    body = '{"name": "calc", "arguments": {"e": "1"}}'
    texts, reader = read(
        tokenizer, "<think>", "why", "</think>", "so", "<tool_call>", body, "</tool_call>"
    )
    assert joined(texts, "reasoning_content") == "why"
    assert joined(texts, "content") == "so"
    assert reader.calls == [ToolCall("calc", {"e": "1"})]
    assert reader.ended


def test_no_character_is_shown_by_halves(tokenizer: TextTokenizer) -> None:
    texts, _ = read(tokenizer, "né€😀!", "<|end_of_text|>")
    assert [text for _, text in texts] == ["n", "é", "€", "😀", "!"]


@pytest.mark.parametrize("body", ["{", "[]", '{"name": "calc"}'])
def test_a_call_that_cannot_be_read_is_shown(tokenizer: TextTokenizer, body: str) -> None:
    texts, reader = read(tokenizer, "<tool_call>", body, "</tool_call>")
    assert joined(texts, "content") == f"<tool_call>{body}</tool_call>"
    assert reader.calls == []
    unfinished, _ = read(tokenizer, "x", "<tool_call>", body)
    assert joined(unfinished, "content") == f"x<tool_call>{body}"
