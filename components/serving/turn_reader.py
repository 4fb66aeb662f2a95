"""Read an assistant turn token by token: what is reasoning, what is content, what is a call.

Streaming and plain answers both come through here, so they cannot differ. A call that cannot be
read is handed to the client as text: it is what the model said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from components.agents.conversation import (
    CALL,
    END_CALL,
    END_OF_TEXT,
    END_THINK,
    THINK,
    MalformedTurn,
    ToolCall,
    parse_assistant,
)
from components.tokenizer.contract import TextTokenizer

Part = Literal["content", "reasoning_content"]
REPLACEMENT = "\ufffd"


@dataclass
class TurnReader:
    """Hold the state of one turn; `calls` grows as calls are closed."""

    tokenizer: TextTokenizer
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    ended: bool = False
    _part: Part | Literal["call"] = "content"
    _ids: list[int] = field(default_factory=list[int])
    _shown: int = 0

    def __post_init__(self) -> None:
        self._names = {number: token for token, number in self.tokenizer.special.items()}

    def feed(self, token: int) -> list[tuple[Part, str]]:
        """Take the next token; return the text that became final with it."""
        name = self._names.get(token)
        if name is None:
            self._ids.append(token)
            return [] if self._part == "call" else self._new_text(hold_back=True)
        if self._part == "call":
            return self._close_call(token if name == END_CALL else None)
        texts = self._new_text(hold_back=False)
        self._ids, self._shown = [], 0
        if name == THINK:
            self._part = "reasoning_content"
        elif name == END_THINK:
            self._part = "content"
        elif name == CALL:
            self._part = "call"
        elif name == END_OF_TEXT:
            self.ended = True
        return texts

    def close(self) -> list[tuple[Part, str]]:
        """End the turn wherever it stands; return the text held back so far."""
        return self._close_call(None) if self._part == "call" else self._new_text(hold_back=False)

    def _new_text(self, *, hold_back: bool) -> list[tuple[Part, str]]:
        """Return the decoded text not yet shown; half a character waits for its other bytes."""
        assert self._part != "call"
        text = self.tokenizer.decode(self._ids)
        if hold_back:
            text = text.rstrip(REPLACEMENT)
        new, self._shown = text[self._shown :], max(self._shown, len(text))
        return [(self._part, new)] if new else []

    def _close_call(self, end: int | None) -> list[tuple[Part, str]]:
        body, self._ids, self._shown, self._part = self._ids, [], 0, "content"
        raw = f"{CALL}{self.tokenizer.decode(body)}"
        if end is None:
            return [("content", raw)]
        try:
            turn = parse_assistant([self.tokenizer.special[CALL], *body, end], self.tokenizer)
        except MalformedTurn:
            return [("content", raw + END_CALL)]
        self.calls += turn.tool_calls
        self.ended = True
        return []
