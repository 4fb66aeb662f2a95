"""Dictionaries in dictd's format: `name.index` says where in `name.dict.dz` an entry stands.

A `.dz` file is gzip with an index in its header, so gzip reads it. The numbers in the index are
base 64 with the digits A-Z a-z 0-9 + /, most significant first.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from components.corpus.document import Document, in_hash_order

FILES = ("usr/share/dictd/*.index",)

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
    """Yield the entries of each dictionary in hash order; several headwords may share one."""
    for path in paths:
        data = path.with_suffix(".dict.dz")
        body = gzip.decompress(data.read_bytes())
        places: dict[tuple[int, int], str] = {}
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            word, _, place = line.partition("\t")
            start, _, size = place.partition("\t")
            if not word.startswith("00-"):  # entries about the dictionary itself
                places.setdefault((_number(start), _number(size)), word)
        for start, size in in_hash_order(places, str, seed):
            entry = body[start : start + size].decode("utf-8", errors="replace")
            yield _document(entry, places[start, size])


def _number(digits: str) -> int:
    value = 0
    for digit in digits:
        value = value * 64 + _DIGITS[digit]
    return value


def _document(entry: str, word: str) -> Document:
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
