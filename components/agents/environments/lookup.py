"""Research over real entries: search by word, open by key, follow citations.

Each tool answers one thing. Were the class of the cited entry part of what `open` says about the
citing one, the two-hop questions could be answered after one hop.
"""

from __future__ import annotations

from dataclasses import dataclass

from components.agents.conversation import ToolCall
from components.agents.environment import Entry, ToolResult, World, same_answer
from components.agents.tools import argument_of

MOST_RESULTS = 5
_ARGUMENTS = {"search": "q", "open": "k", "cites": "k"}


@dataclass
class LookupEnvironment:
    """Serve `search`, `open` and `cites` and check one class name."""

    answer: str
    world: World

    def execute(self, call: ToolCall) -> ToolResult:
        """Search, read an entry, or list what it cites."""
        if call.name not in _ARGUMENTS:
            return ToolResult("error: unknown tool, have search, open, cites", failed=True)
        name = _ARGUMENTS[call.name]
        value = argument_of(call, name)
        if value is None:
            return ToolResult(f'error: {call.name} needs "{name}"', failed=True)
        if call.name == "search":
            return self._search(value)
        entry = self.world.entries.get(value.strip())
        if entry is None:
            return ToolResult(f"error: no entry {value.strip()[:20]}", failed=True)
        return _cites(entry) if call.name == "cites" else ToolResult(f"{entry.kind}: {entry.title}")

    def _search(self, query: str) -> ToolResult:
        words = query.lower().split()[:8]
        found = [set(self.world.by_word.get(word, ())) for word in words]
        keys = sorted(set.intersection(*found)) if found else []
        if not keys:
            return ToolResult(f"error: nothing found for {query.strip()[:40]}", failed=True)
        exact = [key for key in keys if self.world.entries[key].title.lower() == " ".join(words)]
        ordered = list(dict.fromkeys([*exact, *keys]))[:MOST_RESULTS]
        return ToolResult("; ".join(f"{key} {self.world.entries[key].title}" for key in ordered))

    def check(self, answer: str) -> bool:
        """Compare with the right class name."""
        return same_answer(answer, self.answer)

    def close(self) -> None:
        """Hold nothing, so leave nothing behind."""


def _cites(entry: Entry) -> ToolResult:
    if not entry.references:
        return ToolResult(f"error: entry {entry.key} cites nothing", failed=True)
    return ToolResult(" ".join(entry.references))
