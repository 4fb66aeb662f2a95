"""Drop training documents that contain a question of the dev or test tasks or of a benchmark.

A question is searched as n-grams of normalised words; a shorter one as a whole. One hit drops the
document: at this size a lost document costs nothing and a leaked answer costs the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Split a text into lower-case words, without punctuation."""
    return _WORD.findall(text.lower())


class Contaminants:
    """Hold the n-grams that training text must not contain, by length in words."""

    def __init__(self, texts: Iterable[str], *, ngram: int, shortest: int) -> None:
        self._by_length: dict[int, set[tuple[str, ...]]] = {}
        for text in texts:
            question = words(text)
            length = min(ngram, len(question))
            if length < shortest:
                continue
            found = self._by_length.setdefault(length, set())
            found.update(grams(question, length))

    def occur_in(self, text: str) -> bool:
        """Tell whether a document contains any of them."""
        document = words(text)
        return any(
            not known.isdisjoint(grams(document, length))
            for length, known in self._by_length.items()
        )


def grams(sequence: list[str], length: int) -> Iterable[tuple[str, ...]]:
    """Yield every run of `length` words."""
    return zip(*(sequence[start:] for start in range(length)), strict=False)
