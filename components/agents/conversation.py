"""A conversation between a user, a model and its tools, and its one rendering to token ids.

Training, rollout and evaluation all come through here, so a call is spelled with the same tokens
wherever it occurs: the spans of `components.tokenizer.chat_template.render` are encoded one by one,
special tokens by their id. Text that a tool or a user wrote can therefore never become a special
token. Loss falls on what an assistant generates, apart from messages with `trained=False`: wrong
actions that stay visible so that the recovery after them can be learned.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from components.tokenizer.chat_template import render

if TYPE_CHECKING:
    from components.tokenizer.contract import TextTokenizer

Role = Literal["system", "user", "assistant", "tool"]

THINK, END_THINK = "<think>", "</think>"
CALL, END_CALL = "<tool_call>", "</tool_call>"
END_OF_TEXT = "<|end_of_text|>"
_TURN_TOKENS = (THINK, END_THINK, CALL, END_CALL, END_OF_TEXT)


class MalformedTurn(ValueError):
    """Report that generated tokens are no assistant turn: the message says what is wrong."""


@dataclass(frozen=True)
class ToolCall:
    """Name a tool and its arguments (JSON values)."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self) -> dict[str, Any]:
        """Return the object that stands between `<tool_call>` and `</tool_call>`."""
        return {"name": self.name, "arguments": self.arguments}


@dataclass(frozen=True)
class Message:
    """Hold one turn; `trained=False` keeps an assistant's turn visible but without loss."""

    role: Role
    content: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    trained: bool = True

    def to_hf(self) -> dict[str, Any]:
        """Return the dictionary that chat templates read."""
        message: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.tool_calls:
            message["tool_calls"] = [
                {"type": "function", "function": call.to_json()} for call in self.tool_calls
            ]
        return message

    def to_json(self) -> dict[str, Any]:
        """Return the stored form: fields at their default are left out."""
        stored: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.reasoning:
            stored["reasoning"] = self.reasoning
        if self.tool_calls:
            stored["tool_calls"] = [call.to_json() for call in self.tool_calls]
        if not self.trained:
            stored["trained"] = False
        return stored

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> Message:
        """Read what `to_json` wrote."""
        return Message(
            stored["role"],
            stored.get("content", ""),
            stored.get("reasoning", ""),
            tuple(ToolCall(c["name"], c["arguments"]) for c in stored.get("tool_calls", ())),
            stored.get("trained", True),
        )


@dataclass(frozen=True)
class Branch:
    """Say where a conversation leaves another: `parent` is its id, `step` the turn of the fork."""

    parent: str
    step: int
    mistake: str
    """What went wrong on this branch, such as `wrong_argument` or `transient`."""


@dataclass(frozen=True)
class Conversation:
    """Hold the messages of one task; `tools` is None or a list of tool descriptions, never
    empty.
    """

    messages: tuple[Message, ...]
    tools: list[dict[str, Any]] | None = None
    task: str = ""
    family: str = ""
    id: str = ""
    split: str = ""
    style: str = "direct"
    branch: Branch | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the stored form, one JSON object a line."""
        stored: dict[str, Any] = {
            "id": self.id,
            "task": self.task,
            "family": self.family,
            "split": self.split,
            "style": self.style,
            "messages": [message.to_json() for message in self.messages],
        }
        if self.tools:
            stored["tools"] = self.tools
        if self.branch:
            branch = self.branch
            stored["branch"] = {
                "parent": branch.parent,
                "step": branch.step,
                "mistake": branch.mistake,
            }
        return stored

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> Conversation:
        """Read what `to_json` wrote."""
        branch = stored.get("branch")
        return Conversation(
            messages=tuple(Message.from_json(message) for message in stored["messages"]),
            tools=stored.get("tools"),
            task=stored.get("task", ""),
            family=stored.get("family", ""),
            id=stored.get("id", ""),
            split=stored.get("split", ""),
            style=stored.get("style", "direct"),
            branch=Branch(**branch) if branch else None,
        )

    def with_message(self, message: Message) -> Conversation:
        """Return the conversation with one more message."""
        return replace(self, messages=(*self.messages, message))


def _pieces(
    conversation: Conversation, *, add_generation_prompt: bool = False
) -> Iterator[tuple[str, bool, bool]]:
    """Yield (text, is special, gets loss) with neighbouring plain text joined.

    A Hugging Face tokenizer encodes all text between two special tokens at once; joining keeps our
    ids equal to its.
    """
    spans = render(
        [message.to_hf() for message in conversation.messages],
        tools=conversation.tools or None,
        add_generation_prompt=add_generation_prompt,
    )

    def gets_loss(span: Any) -> bool:
        trained = span.message is None or conversation.messages[span.message].trained
        return bool(span.generated and trained)

    for (special, _), group in groupby(spans, key=lambda span: (span.special, span.generated)):
        run = list(group)
        if special:
            yield from ((span.text, True, gets_loss(span)) for span in run)
        else:
            yield "".join(span.text for span in run), False, gets_loss(run[0])


def encode(conversation: Conversation, tokenizer: TextTokenizer) -> tuple[list[int], list[int]]:
    """Return token ids and a mask of equal length that is 1 where loss falls."""
    ids: list[int] = []
    mask: list[int] = []
    for text, special, loss in _pieces(conversation):
        new = [tokenizer.special[text]] if special else tokenizer.encode(text)
        ids.extend(new)
        mask.extend([int(loss)] * len(new))
    return ids, mask


def encode_prompt(conversation: Conversation, tokenizer: TextTokenizer) -> list[int]:
    """Return the ids up to and with `<|Assistant|>`, after which the model writes."""
    ids: list[int] = []
    for text, special, _ in _pieces(conversation, add_generation_prompt=True):
        ids.extend([tokenizer.special[text]] if special else tokenizer.encode(text))
    return ids


def encode_choice(
    messages: Sequence[Message], choice: Message, tokenizer: TextTokenizer
) -> tuple[list[int], list[int]]:
    """Return ids and mask of `choice` as the next turn after `messages`; the mask is 1 on the
    choice only.
    """
    context = tuple(replace(message, trained=False) for message in messages)
    return encode(Conversation((*context, replace(choice, trained=True))), tokenizer)


def tool_response_ids(text: str, tokenizer: TextTokenizer) -> list[int]:
    """Return the forced ids between an assistant's `</tool_call>` and its next turn.

    They are `<|User|><tool_response>text</tool_response><|Assistant|>`, taken from the renderer so
    that a rollout and a training example agree.
    """
    spans = render([Message("tool", text).to_hf()], add_generation_prompt=True)
    first = next(index for index, span in enumerate(spans) if span.message == 0)
    ids: list[int] = []
    for special, group in groupby(spans[first:], key=lambda span: span.special):
        run = [span.text for span in group]
        if special:
            ids.extend(tokenizer.special[token] for token in run)
        else:
            ids.extend(tokenizer.encode("".join(run)))
    return ids


def parse_assistant(turn: str | Iterable[int], tokenizer: TextTokenizer | None = None) -> Message:
    """Read a generated turn back: optional reasoning, then content, then calls or the end of the
    text.

    Ids need the tokenizer and are safer than text: only real special tokens count. Raises
    `MalformedTurn` for a call that is no JSON object with `name` and `arguments`, for special
    tokens in the wrong place, and for a turn that ends neither with `</tool_call>` nor with
    `<|end_of_text|>`.
    """
    parts = _split_text(turn) if isinstance(turn, str) else _split_ids(turn, tokenizer)
    reasoning, content = "", ""
    calls: list[ToolCall] = []
    expected_end = ""
    for text, token in parts:
        if expected_end:
            if token != expected_end:
                raise MalformedTurn(f"{expected_end} expected, {token or 'the end'} found")
            if token == END_CALL:
                calls.append(_read_call(text))
            else:
                reasoning = text
            expected_end = ""
            continue
        content += text
        if token == END_OF_TEXT or (not token and calls and not text):
            return Message("assistant", content.strip(), reasoning.strip(), tuple(calls))
        if token == THINK and not content.strip() and not reasoning and not calls:
            expected_end = END_THINK
        elif token == CALL:
            expected_end = END_CALL
        else:
            raise MalformedTurn(f"{token or 'the end'} in the wrong place")
    raise MalformedTurn("the turn does not end")


def _split_text(turn: str) -> Iterator[tuple[str, str]]:
    """Yield (text, the special token after it), the last with an empty token."""
    pieces = re.split("(" + "|".join(re.escape(token) for token in _TURN_TOKENS) + ")", turn)
    for index in range(0, len(pieces), 2):
        yield pieces[index], pieces[index + 1] if index + 1 < len(pieces) else ""


def _split_ids(turn: Iterable[int], tokenizer: TextTokenizer | None) -> Iterator[tuple[str, str]]:
    assert tokenizer is not None, "parsing ids needs their tokenizer"
    names = {number: token for token, number in tokenizer.special.items()}
    plain: list[int] = []
    for number in turn:
        if number in names:
            yield tokenizer.decode(plain), names[number]
            plain = []
        else:
            plain.append(number)
    yield tokenizer.decode(plain), ""


def _read_call(text: str) -> ToolCall:
    try:
        call = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise MalformedTurn(f"the call is no JSON: {text[:80]!r}") from error
    if not isinstance(call, dict):
        raise MalformedTurn(f"the call is no object: {text[:80]!r}")
    name, arguments = call.get("name"), call.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise MalformedTurn(f"the call lacks a name or arguments: {text[:80]!r}")
    return ToolCall(name, arguments)
