"""WordNet's noun database: one entry a synset, with its class and what it is a kind of.

The format is described in WordNet's manual page wndb(5WN): a line is
`offset class n word-count word id ... pointer-count pointer offset pos ids ... | gloss`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.corpus.document import Document, in_hash_order

CLASSES = (
    "act",
    "animal",
    "artifact",
    "attribute",
    "body",
    "cognition",
    "communication",
    "event",
    "feeling",
    "food",
    "group",
    "location",
    "motive",
    "object",
    "person",
    "phenomenon",
    "plant",
    "possession",
    "process",
    "quantity",
    "relation",
    "shape",
    "state",
    "substance",
    "time",
)
"""The 25 noun classes in the order of their numbers from 04 on; 03 is the top of the hierarchy,
which has none."""

FILES = ("usr/share/wordnet/data.noun",)
_FIRST = 4
_HYPERNYMS = ("@", "@i")


@dataclass(frozen=True)
class _Synset:
    words: tuple[str, ...]
    kind: str
    hypernyms: tuple[str, ...]
    gloss: str


def read(root: Path, paths: list[Path], seed: int) -> Iterator[Document]:
    """Yield one entry a noun synset, in hash order, each followed by what it is a kind of.

    The neighbour makes sure that a small sample holds entries whose references exist.
    """
    for path in paths:
        yield from _entries(dict(_lines(path)), seed)


def _entries(lines: dict[str, str], seed: int) -> Iterator[Document]:
    given: set[str] = set()
    for offset in in_hash_order(lines, str, seed):
        family = (offset, *_parse(lines[offset]).hypernyms)
        for each in dict.fromkeys(each for each in family if each in lines and each not in given):
            given.add(each)
            yield _entry(_parse(lines[each]), lines)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not line.startswith("  "):  # two spaces begin a line of the licence
                yield line[:8], line


def _parse(line: str) -> _Synset:
    head, _, gloss = line.partition(" | ")
    fields = head.split()
    number = int(fields[1])
    count = int(fields[3], 16)
    words = tuple(word.replace("_", " ") for word in fields[4 : 4 + 2 * count : 2])
    pointers = fields[5 + 2 * count :]
    hypernyms = tuple(
        pointers[at + 1] for at in range(0, len(pointers), 4) if pointers[at] in _HYPERNYMS
    )
    kind = CLASSES[number - _FIRST] if number >= _FIRST else ""
    return _Synset(words, kind, hypernyms, gloss.strip())


def _entry(synset: _Synset, lines: dict[str, str]) -> Document:
    title, *others = synset.words
    parts = [part.strip() for part in synset.gloss.split(";") if part.strip()]
    meaning = "; ".join(part for part in parts if not part.startswith('"'))
    examples = [part for part in parts if part.startswith('"') and part.endswith('"')]
    references = tuple(_parse(lines[each]).words[0] for each in synset.hypernyms if each in lines)
    sentences = [f"{title[:1].upper()}{title[1:]}: {meaning}."]
    if others:
        sentences.append(f"Also called {_listed(others)}.")
    if references:
        sentences.append(f"A kind of {_listed(references)}.")
    if examples:
        sentences.append(f"For example: {' '.join(examples)}.")
    return Document(" ".join(sentences), title, synset.kind, references)


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
