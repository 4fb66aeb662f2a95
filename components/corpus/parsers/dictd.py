"""Dictionaries in dictd's format: `name.index` says where in `name.dict.dz` an entry stands.

A `.dz` file is gzip with an index in its header, so gzip reads it. The numbers in the index are
base 64 with the digits A-Z a-z 0-9 + /, most significant first.

A document is a page of neighbouring entries, as in the printed book: a single entry is a line or
two and holds nothing worth looking back at.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from components.corpus.document import Document, in_hash_order

FILES = ("usr/share/dictd/*.index",)

PAGE_CHARACTERS = 3_000
"""A page ends with the entry that reaches this; ours, more than the longest context of `toy`."""

_DIGITS = {
    letter: value
    for value, letter in enumerate(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    )
}
_SOURCE_TAG = re.compile(r"\s*\[(?:1913 Webster|PJC|WordNet[^\]]*|Webster[^\]]*|[A-Z]{2,4})\]")
_SPOKEN = re.compile(r"\s*\\[^\\]*\\")
_SOUNDS = re.compile(r"\s*\([^()]*[\"`*\[][^()]*\)")
_ROMAN_MARK = re.compile(r"\[[^\]\s]{1,3}\]")


def read(root: Path, paths: list[Path], seed: int) -> Iterator[Document]:
    """Yield the pages of each dictionary in hash order; several headwords may share an entry."""
    for path in paths:
        data = path.with_suffix(".dict.dz")
        body = gzip.decompress(data.read_bytes())
        places: dict[tuple[int, int], str] = {}
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            word, _, place = line.partition("\t")
            start, _, size = place.partition("\t")
            if not word.startswith("00-"):  # entries about the dictionary itself
                places.setdefault((_number(start), _number(size)), word)
        entries = (
            _entry(body[start : start + size].decode("utf-8", errors="replace"), word)
            for (start, size), word in sorted(places.items())
        )
        yield from in_hash_order(_pages(entries), lambda page: page.title, seed)


def _pages(entries: Iterable[Document]) -> Iterator[Document]:
    """Join neighbouring entries; a page is named after its first and last headword."""
    page: list[Document] = []
    for entry in entries:
        page.append(entry)
        if sum(len(each.text) for each in page) >= PAGE_CHARACTERS:
            yield _page(page)
            page = []
    if page:
        yield _page(page)


def _page(entries: list[Document]) -> Document:
    titles = list(dict.fromkeys((entries[0].title, entries[-1].title)))
    references = dict.fromkeys(name for entry in entries for name in entry.references)
    text = "\n\n".join(entry.text for entry in entries)
    return Document(text, " – ".join(titles), "", tuple(references))


def _number(digits: str) -> int:
    value = 0
    for digit in digits:
        value = value * 64 + _DIGITS[digit]
    return value


def _entry(entry: str, word: str) -> Document:
    first = entry.lstrip().partition("\n")[0]
    title = first.partition("\\")[0].strip() if "\\" in first else word
    headline, _, rest = _SPOKEN.sub("", _SOURCE_TAG.sub("", entry)).strip().partition("\n")
    text = _ROMAN_MARK.sub("", f"{_SOUNDS.sub('', headline)}\n{rest}")
    references = tuple(dict.fromkeys(" ".join(found.split()) for found in _linked(text)))
    text = text.replace("{", "").replace("}", "")
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)]
    return Document("\n".join(part for part in paragraphs if part), title, "", references)


def _linked(text: str) -> list[str]:
    return re.findall(r"\{([^{}]{2,60})\}", text)
