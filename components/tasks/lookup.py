"""Research tasks over real entries: `lookup` goes forward, `inverse` is made backwards from a
document's references.

An inverse task starts from the finished document: its reference list is read, the cited entry is
the answer's source, and the search path that leads there is rebuilt (paper 5.2, the inverse route).
With `keys` the path is follow, open; with `words` it begins with a search.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from components.agents.conversation import ToolCall
from components.agents.environment import Entry
from components.tasks.splits import draws, split_of
from components.tasks.task import Task

LOOKUP = (
    "What kind of thing is entry {k}?",
    "Of what kind is entry {k}?",
    "What is the class of entry {k}?",
    "To which class belongs entry {k}?",
)
INVERSE = (
    "What kind of thing is cited by entry {k}?",
    "Of what kind is the source of entry {k}?",
    "What is the class of the work cited by entry {k}?",
    "To which class belongs the source of entry {k}?",
)
LOOKUP_WORDS = (
    "What kind of thing is {t}?",
    "I read about {t}. What class does it belong to?",
    "Tell me the class of {t}.",
)
INVERSE_WORDS = (
    "The article on {t} cites another entry. What kind of thing is that one?",
    "Which class does the source of the entry on {t} belong to?",
    "Follow the reference of {t} and name its class.",
)


def lookup_tasks(
    split: str, seed: int, phrasing: str, entries: Mapping[str, Entry]
) -> Iterator[Task]:
    """Yield forward tasks over the entries of one split, every entry once before any comes
    twice.
    """
    wordings = LOOKUP if phrasing == "keys" else LOOKUP_WORDS
    for entry, wording in _rounds(split, seed, "lookup", wordings, entries):
        steps = (*_search(entry, phrasing), ToolCall("open", {"k": entry.key}))
        yield _task("lookup", split, wording, entry, steps, entry.kind)


def inverse_tasks(
    split: str, seed: int, phrasing: str, entries: Mapping[str, Entry]
) -> Iterator[Task]:
    """Yield tasks made from the references of one split's entries: the answer is the cited entry's
    class.
    """
    citing = {key: entry for key, entry in entries.items() if entry.references}
    wordings = INVERSE if phrasing == "keys" else INVERSE_WORDS
    for entry, wording in _rounds(split, seed, "inverse", wordings, citing):
        cited = entries[entry.references[0]]
        steps = (
            *_search(entry, phrasing),
            ToolCall("cites", {"k": entry.key}),
            ToolCall("open", {"k": cited.key}),
        )
        yield _task("inverse", split, wording, entry, steps, cited.kind)


def _search(entry: Entry, phrasing: str) -> tuple[ToolCall, ...]:
    return (ToolCall("search", {"q": entry.title}),) if phrasing == "words" else ()


def _rounds(
    split: str, seed: int, family: str, wordings: tuple[str, ...], entries: Mapping[str, Entry]
) -> Iterator[tuple[Entry, str]]:
    """Yield (entry, wording): each round visits all entries, with another wording each time."""
    keys = [key for key in sorted(entries) if split_of(f"key:{key}") == split]
    draws(seed, family, split).shuffle(keys)
    for turn in range(len(wordings)):
        for number, key in enumerate(keys):
            yield entries[key], wordings[(turn + number) % len(wordings)]


def _task(
    family: str, split: str, wording: str, entry: Entry, steps: tuple[ToolCall, ...], answer: str
) -> Task:
    world = {"title": entry.title} if steps[0].name == "search" else {"key": entry.key}
    return Task(
        family=family,
        environment="lookup",
        split=split,
        question=wording.format(k=entry.key, t=entry.title),
        answer=answer,
        source=f"key:{entry.key}",
        steps=steps,
        world=world,
    )
