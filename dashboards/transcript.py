"""A conversation as HTML: turns with their calls and results, and the exact text with its loss
mask.

Green is what the model learns to write. Red was written by an assistant too, but is a mistake that
carries no loss. Everything else, questions and tool output, is context.
"""

from __future__ import annotations

import json
from html import escape

from components.agents.conversation import Conversation, Message, ToolCall, render

LEGEND = {
    "trained: loss falls here": "#CFE7DA",
    "mistake: kept, without loss": "#F3C9C5",
    "context: without loss": "#E3E5E6",
}
"""What the colours of a conversation mean."""

_NAMES = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool result"}


def turns(conversation: Conversation, *, shared: int = 0) -> str:
    """Return the turns as cards; the first `shared` ones, common to another conversation, are
    faded.
    """
    parts: list[str] = []
    failing = False
    for position, message in enumerate(conversation.messages):
        wrong = message.role == "assistant" and not message.trained
        if wrong and not failing:
            what = conversation.branch.mistake if conversation.branch else "mistake"
            parts.append(_fork(f"goes wrong: {what.replace('_', ' ')}", ""))
        if failing and message.role == "assistant" and not wrong:
            parts.append(_fork("recovers", " s-back"))
        if message.role == "assistant":
            failing = wrong
        parts.append(_turn(message, after_mistake=failing, faded=position < shared))
    return f'<div class="s-talk">{"".join(parts)}</div>'


def _fork(text: str, extra: str) -> str:
    return f'<div class="s-fork{extra}">{escape(text)}</div>'


def _turn(message: Message, *, after_mistake: bool, faded: bool) -> str:
    name = _NAMES[message.role]
    if message.role == "assistant":
        kind, note = (
            (" s-trained", "trained") if message.trained else (" s-wrong", "kept, without loss")
        )
    else:
        kind = " s-tool" if message.role == "tool" else ""
        note = "context"
    if message.role == "tool" and after_mistake:
        kind, name = " s-wrong", "Tool result of the mistake"
    body = f'<div class="s-think">{escape(message.reasoning)}</div>' if message.reasoning else ""
    if message.content:
        tag = "pre" if message.role == "tool" else "div"
        body += f'<{tag} class="s-said">{escape(message.content)}</{tag}>'
    body += "".join(_call(call) for call in message.tool_calls)
    fade = " s-shared" if faded else ""
    return (
        f'<div class="s-turn{kind}{fade}"><div class="s-who"><b>{name}</b><span>{note}</span>'
        f"</div>{body}</div>"
    )


def _call(call: ToolCall) -> str:
    arguments = ", ".join(
        f"{escape(name)}={escape(json.dumps(value, ensure_ascii=False))}"
        for name, value in call.arguments.items()
    )
    return f'<span class="s-call"><b>{escape(call.name)}</b>({arguments})</span>'


def spans(conversation: Conversation) -> str:
    """Return the text as the model reads it, coloured by whether loss falls on it."""
    parts: list[str] = []
    for text, special, loss, untrained in pieces(conversation):
        classes = [
            name
            for name, applies in (
                ("s-special", special),
                ("s-on", loss),
                ("s-off", untrained),
            )
            if applies
        ]
        parts.append(f'<span class="{" ".join(classes)}">{escape(text)}</span>')
    return f'<div class="s-spans">{"".join(parts)}</div>'


def pieces(conversation: Conversation) -> list[tuple[str, bool, bool, bool]]:
    """Split the rendered text: (text, is one special token, gets loss, is an untrained turn's).

    Loss falls where `components.agents.conversation.encode` puts it (a test compares them).
    """
    messages = conversation.messages
    found: list[tuple[str, bool, bool, bool]] = []
    for span in render([m.to_hf() for m in messages], tools=conversation.tools or None):
        trained = span.message is None or messages[span.message].trained
        generated = bool(span.generated)
        found.append((span.text, span.special, generated and trained, generated and not trained))
    return found


def counts(conversation: Conversation) -> tuple[int, int]:
    """Count characters with loss and all characters of the rendered text."""
    found = pieces(conversation)
    return sum(len(p[0]) for p in found if p[2]), sum(len(p[0]) for p in found)
