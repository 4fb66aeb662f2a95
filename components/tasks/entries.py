"""The entries that the look-up tools serve: real documents with a class, under numeric keys.

An entry and what it cites share a split, so a two-hop question of the test never passes through an
entry that training opened. Classes take turns, so that always answering the commonest one scores
low.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from components.agents.environment import Entry
from components.artifacts.types import Corpus
from components.contract import BadInput
from components.tasks.documents import Document, choose_documents
from components.tasks.splits import draws, keys_by_split, split_of

LONGEST_TITLE = 32
"""Characters; a tool answer has to be short (ours)."""
CANDIDATES = 50_000
TEXT_KEPT = 400


@dataclass
class _Shelf:
    """Keys still free by split, and the entries placed so far by title."""

    free: dict[str, list[str]]
    room: int
    placed: dict[str, Entry] = field(default_factory=dict[str, Entry])
    splits: dict[str, str] = field(default_factory=dict[str, str])

    def place(self, document: Document, split: str, references: tuple[str, ...] = ()) -> str:
        """Put a document on a free key of `split` and return the key."""
        key = self.free[split].pop()
        entry = Entry(key, document.title, document.kind, document.text[:TEXT_KEPT], references)
        self.placed[document.title.lower()] = entry
        self.splits[key] = split
        self.room -= 1
        return key


def choose_entries(corpus: Corpus, *, seed: int, most: int, digits: int) -> dict[str, Entry]:
    """Return entries by key, in the order of keys.

    Raises `BadInput` where the corpus has no documents with a class.
    """
    found = choose_documents(corpus, "train", CANDIDATES, seed, _fit)
    by_title: dict[str, list[Document]] = defaultdict(list)
    for document in found:
        by_title[document.title.lower()].append(document)
    unique = {title: same[0] for title, same in by_title.items() if len(same) == 1}
    if len(unique) < 2:
        raise BadInput(
            "no entries for look-up tasks: no training document of the corpus has a class "
            "(column `kind`). Add a source with classes, such as WordNet, or leave the families "
            "lookup and inverse out."
        )
    shelf = _Shelf(keys_by_split(digits), min(most, 10**digits))
    for number, keys in enumerate(shelf.free.values()):
        draws(seed, "keys", str(number)).shuffle(keys)
    for document in _kinds_in_turn(unique.values()):
        if shelf.room > 0 and document.title.lower() not in shelf.placed:
            _place_with_reference(shelf, document, unique)
    return {entry.key: entry for entry in sorted(shelf.placed.values(), key=lambda e: e.key)}


def _fit(document: Document) -> bool:
    title = document.title
    return bool(
        document.kind
        and 0 < len(title) <= LONGEST_TITLE
        and title.isascii()
        and title == " ".join(title.split())
        and document.kind.isascii()
    )


def _kinds_in_turn(documents: Iterable[Document]) -> list[Document]:
    by_kind: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        by_kind[document.kind].append(document)
    queues = [by_kind[kind] for kind in sorted(by_kind)]
    longest = max(len(queue) for queue in queues)
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]


def _place_with_reference(shelf: _Shelf, document: Document, unique: dict[str, Document]) -> None:
    """Place a document and, if it cites one we can serve, that one in the same split."""
    cited = [unique[name.lower()] for name in document.references if name.lower() in unique]
    cited = [target for target in cited if target.title.lower() != document.title.lower()]
    cited.sort(key=lambda target: target.kind == document.kind)
    for target in cited:
        known = shelf.placed.get(target.title.lower())
        if known is not None:
            split = shelf.splits[known.key]
            if shelf.free[split]:
                shelf.place(document, split, (known.key,))
                return
        elif shelf.room >= 2:
            split = _split_with_room(shelf, document, needed=2)
            if split:
                key = shelf.place(target, split)
                shelf.place(document, split, (key,))
                return
    split = _split_with_room(shelf, document, needed=1)
    if split:
        shelf.place(document, split)


def _split_with_room(shelf: _Shelf, document: Document, *, needed: int) -> str:
    """Return the split of the document's hash, the one with most free keys if that is full, or
    ''.
    """
    wanted = split_of(f"document:{document.id}")
    if len(shelf.free[wanted]) >= needed:
        return wanted
    roomiest = max(shelf.free, key=lambda name: len(shelf.free[name]))
    return roomiest if len(shelf.free[roomiest]) >= needed else ""
