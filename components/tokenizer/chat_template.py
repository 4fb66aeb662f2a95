"""The chat template, twice: as Jinja for other software and as Python for training.

Both follow the paper (section 2.4): no newlines, system text right after `<|begin_of_text|>`, tools
described after the system text, results in a user turn. The Python form also knows which message a
piece came from and whether an assistant generated it, which is where loss may fall. A test holds
the two equal. Ours, where the paper is silent: calls are compact JSON, which a small model learns
sooner; successive tool results share one user turn; a turn that calls tools ends with its last
`</tool_call>`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.tokenizer.special_tokens import (
    ASSISTANT,
    BEGIN_TOOLS,
    BOS,
    CALL,
    END_CALL,
    END_RESPONSE,
    END_THINK,
    END_TOOLS,
    EOS,
    RESPONSE,
    THINK,
    USER,
)

TOOLS_BEFORE = (
    "Tool calling capabilities.\nYou may call one or more functions to assist with the user query."
    " You have the following functions available:\n"
)
TOOLS_AFTER = (
    "For tool call returns, you MUST use the following format:\n"
    '<tool_call>{"name": "function-name", "arguments": {"param1": "value1", "param2": "value2"}}'
    "</tool_call>\n"
)
NO_THINKING = "\n\n"
"""What stands between `<think>` and `</think>` when thinking is switched off, and after them."""


@dataclass(frozen=True)
class Span:
    """Hold a piece of a rendered conversation.

    `special` says that the text is one special token; `message` is the index of the message the
    piece belongs to, None for what belongs to none; `generated` says that an assistant wrote it.
    """

    text: str
    special: bool = False
    message: int | None = None
    generated: bool = False


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def render(
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool = False,
    enable_thinking: bool = True,
) -> list[Span]:
    """Render a conversation; the joined texts equal the Jinja template's output.

    Messages are dictionaries as `transformers` takes them: role, content, reasoning_content,
    tool_calls. System messages may stand anywhere and come first, joined by a blank line. Raises
    ValueError for an unknown role.
    """
    spans = [Span(BOS, special=True), *_system(messages, tools)]
    keep_from = _reasoning_kept_from(messages)
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "user":
            spans.append(Span(USER, True, index))
            spans.append(Span(_text(message), False, index))
        elif role == "assistant":
            spans.append(Span(ASSISTANT, True, index))
            spans += _assistant(message, index, with_reasoning=index >= keep_from)
        elif role == "tool":
            if index == 0 or messages[index - 1]["role"] != "tool":
                spans.append(Span(USER, True, index))
            spans.append(Span(RESPONSE, True, index))
            spans.append(Span(_text(message), False, index))
            spans.append(Span(END_RESPONSE, True, index))
        elif role != "system":
            raise ValueError(f"unknown role {role!r}: use system, user, assistant or tool")
    if add_generation_prompt:
        spans.append(Span(ASSISTANT, True))
        if not enable_thinking:
            spans += [Span(THINK, True), Span(NO_THINKING)]
            spans += [Span(END_THINK, True), Span(NO_THINKING)]
    return [span for span in spans if span.text]


def _text(message: Mapping[str, Any]) -> str:
    return message.get("content") or ""


def _system(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None
) -> Iterator[Span]:
    indices = [index for index, message in enumerate(messages) if message["role"] == "system"]
    for count, index in enumerate(indices):
        yield Span(("\n\n" if count else "") + _text(messages[index]), False, index)
    if tools:
        blocks = "".join(
            f"```json\n{json.dumps(tool, ensure_ascii=False)}\n```\n" for tool in tools
        )
        yield Span(BEGIN_TOOLS, special=True)
        before, _, after = TOOLS_AFTER.partition(CALL)
        yield Span(TOOLS_BEFORE + blocks + before)
        example, _, rest = after.partition(END_CALL)
        yield from (Span(CALL, special=True), Span(example), Span(END_CALL, special=True))
        yield Span(rest)
        yield Span(END_TOOLS, special=True)


def _reasoning_kept_from(messages: Sequence[Mapping[str, Any]]) -> int:
    """Return the index from which on assistants keep their reasoning.

    It is kept once tools are in play (paper section 2.4), from the turn that calls the first tool:
    a model that goes on after a result has its own reasoning in context. It is also kept after the
    last question, which is the turn being written.
    """
    for index, message in enumerate(messages):
        if message["role"] == "tool" or message.get("tool_calls"):
            return index
    questions = [index for index, message in enumerate(messages) if message["role"] == "user"]
    return questions[-1] + 1 if questions else 0


def _assistant(message: Mapping[str, Any], index: int, *, with_reasoning: bool) -> Iterator[Span]:
    def wrote(text: str, special: bool = False) -> Span:
        return Span(text, special, index, generated=True)

    reasoning = message.get("reasoning_content") or ""
    if reasoning and with_reasoning:
        yield from (wrote(THINK, True), wrote(reasoning), wrote(END_THINK, True))
    yield wrote(_text(message))
    calls = message.get("tool_calls") or ()
    for call in calls:
        function = call.get("function") or call
        arguments = function["arguments"]
        written = arguments if isinstance(arguments, str) else _compact(arguments)
        yield wrote(CALL, True)
        yield wrote(f'{{"name":{_compact(function["name"])},"arguments":{written}}}')
        yield wrote(END_CALL, True)
    if not calls:
        yield wrote(EOS, True)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


# One line, since every newline outside a tag would be rendered. `{% if tools %}` is false for an
# empty list too; testing only for none renders a phantom preamble there.
CHAT_TEMPLATE = "".join(
    (
        "{{- '<|begin_of_text|>' -}}",
        "{%- set ns = namespace(systems=0, keep=-1, question=-1) -%}",
        "{%- for message in messages -%}",
        "{%- if message.role == 'system' -%}",
        "{%- if ns.systems -%}{{- '\\n\\n' -}}{%- endif -%}",
        "{%- set ns.systems = ns.systems + 1 -%}{{- message.content or '' -}}",
        "{%- elif message.role == 'user' -%}{%- set ns.question = loop.index0 -%}",
        "{%- endif -%}",
        "{%- if ns.keep < 0 and (message.role == 'tool' or message.tool_calls) -%}",
        "{%- set ns.keep = loop.index0 -%}",
        "{%- endif -%}",
        "{%- endfor -%}",
        "{%- if ns.keep < 0 -%}{%- set ns.keep = ns.question + 1 -%}{%- endif -%}",
        "{%- if tools -%}",
        "{{- '<|begin_of_tool_description|>' + ",
        _quoted(TOOLS_BEFORE),
        " -}}",
        "{%- for tool in tools -%}",
        "{{- '```json\\n' + (tool | tojson) + '\\n```\\n' -}}",
        "{%- endfor -%}",
        "{{- ",
        _quoted(TOOLS_AFTER),
        " + '<|end_of_tool_description|>' -}}",
        "{%- endif -%}",
        "{%- for message in messages -%}",
        "{%- if message.role == 'user' -%}{{- '<|User|>' + (message.content or '') -}}",
        "{%- elif message.role == 'assistant' -%}{{- '<|Assistant|>' -}}",
        "{%- if message.reasoning_content and loop.index0 >= ns.keep -%}",
        "{{- '<think>' + message.reasoning_content + '</think>' -}}",
        "{%- endif -%}",
        "{{- message.content or '' -}}",
        "{%- for call in message.tool_calls or [] -%}",
        "{%- set function = call.function or call -%}",
        "{{- '<tool_call>{\"name\":' + (function.name | tojson) + ',\"arguments\":' -}}",
        "{%- if function.arguments is string -%}{{- function.arguments -}}",
        "{%- else -%}{{- function.arguments | tojson(separators=(',', ':')) -}}{%- endif -%}",
        "{{- '}</tool_call>' -}}",
        "{%- endfor -%}",
        "{%- if not message.tool_calls -%}{{- '<|end_of_text|>' -}}{%- endif -%}",
        "{%- elif message.role == 'tool' -%}",
        "{%- if loop.first or loop.previtem.role != 'tool' -%}{{- '<|User|>' -}}{%- endif -%}",
        "{{- '<tool_response>' + (message.content or '') + '</tool_response>' -}}",
        "{%- elif message.role != 'system' -%}",
        "{{- raise_exception('unknown role ' + message.role) -}}",
        "{%- endif -%}",
        "{%- endfor -%}",
        "{%- if add_generation_prompt -%}{{- '<|Assistant|>' -}}",
        "{%- if enable_thinking is defined and not enable_thinking -%}",
        "{{- '<think>\\n\\n</think>\\n\\n' -}}",
        "{%- endif -%}",
        "{%- endif -%}",
    )
)
"""Jinja source of the template, as `transformers` runs it."""
