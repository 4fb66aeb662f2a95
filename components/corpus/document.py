"""A document before it is a row of the corpus, and the hash order in which documents are taken."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Document:
    """Hold one text with its title; `kind` is its class, `references` are titles of others."""

    text: str
    title: str = ""
    kind: str = ""
    references: tuple[str, ...] = ()


def rank(seed: int, name: str) -> str:
    """Return the place of a name in the order of `seed`, as hexadecimal digits."""
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()


def in_hash_order(items: Iterable[T], name: Callable[[T], str], seed: int) -> list[T]:
    """Return items in an order that depends on their names and the seed alone."""
    return sorted(items, key=lambda item: rank(seed, name(item)))


def split_long(document: Document, most: int) -> Iterator[Document]:
    """Yield a document in parts of at most `most` characters, cut after a paragraph or a line."""
    text = document.text
    while len(text) > most:
        half = most // 2
        at = text.rfind("\n\n", half, most) + 1 or text.rfind("\n", half, most) + 1 or most
        yield replace(document, text=text[:at])
        text = text[at:]
    yield replace(document, text=text) if text is not document.text else document
