"""Find and read the conversations of a Trajectories artifact.

A split may hold many megabytes, so a page keeps a list of where each conversation begins and reads
the ones it shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.agents.conversation import Conversation

SPLITS = ("midtrain", "sft")


@dataclass(frozen=True)
class Entry:
    """Hold what the list of conversations shows of one, and the byte it begins at."""

    id: str
    offset: int
    family: str
    style: str
    turns: int
    calls: int
    mistake: str
    """What went wrong where it forks from its parent; empty for a run without a fork."""
    parent: str
    masked: bool
    """Whether an assistant's turn carries no loss."""
    question: str


@dataclass(frozen=True)
class Filter:
    """Hold what the list is narrowed to; an empty value narrows nothing."""

    family: str = ""
    style: str = ""
    kind: str = ""
    """`branch` for forked ones, `masked` for ones with a turn without loss, `plain` for others."""

    def takes(self, entry: Entry) -> bool:
        """Whether the entry belongs into the list."""
        if self.family and entry.family != self.family:
            return False
        if self.style and entry.style != self.style:
            return False
        kinds = {
            "branch": bool(entry.parent),
            "masked": entry.masked,
            "plain": not entry.parent and not entry.masked,
        }
        return kinds.get(self.kind, True)


def index(path: Path) -> list[Entry]:
    """List the conversations of a JSON-lines file in its order; empty where it is not there."""
    entries: list[Entry] = []
    try:
        with path.open("rb") as file:
            offset = 0
            for line in file:
                entries.append(_entry(line, offset))
                offset += len(line)
    except FileNotFoundError:
        return []
    return entries


def _entry(line: bytes, offset: int) -> Entry:
    stored = json.loads(line)
    messages = stored["messages"]
    branch = stored.get("branch") or {}
    asked = next((m["content"] for m in messages if m["role"] == "user"), "")
    return Entry(
        id=stored.get("id") or str(offset),
        offset=offset,
        family=stored.get("family", ""),
        style=stored.get("style", ""),
        turns=sum(1 for m in messages if m["role"] == "assistant"),
        calls=sum(len(m.get("tool_calls", ())) for m in messages),
        mistake=branch.get("mistake", ""),
        parent=branch.get("parent", ""),
        masked=any(not m.get("trained", True) for m in messages if m["role"] == "assistant"),
        question=asked[:140],
    )


def read(path: Path, entry: Entry) -> Conversation:
    """Read one conversation."""
    with path.open("rb") as file:
        file.seek(entry.offset)
        return Conversation.from_json(json.loads(file.readline()))


def relatives(entries: Iterable[Entry], entry: Entry) -> list[Entry]:
    """List the other conversations of the same tree: the parent first, then its branches."""
    root = entry.parent or entry.id
    found = [e for e in entries if root in (e.id, e.parent) and e.id != entry.id]
    return sorted(found, key=lambda e: (bool(e.parent), e.id))


def shared_turns(one: Conversation, other: Conversation) -> int:
    """Count the messages at the start that two conversations have in common."""
    count = 0
    for a, b in zip(one.messages, other.messages, strict=False):
        if (a.role, a.content, a.reasoning, a.tool_calls) != (
            b.role,
            b.content,
            b.reasoning,
            b.tool_calls,
        ):
            break
        count += 1
    return count


def choices(entries: Sequence[Entry], field: str) -> list[str]:
    """List the values of `family` or `style` that occur, sorted."""
    return sorted({str(getattr(entry, field)) for entry in entries} - {""})


def caption(entry: Entry) -> str:
    """Say in a line of Streamlit's Markdown what kind of conversation it is."""
    words = [entry.family, f"{entry.calls} call{'s' if entry.calls != 1 else ''}"]
    if entry.parent:
        words.append(f":red[fork: {entry.mistake.replace('_', ' ')}]")
    elif entry.masked:
        words.append(":red[mistake]")
    return " · ".join(words)
