"""Find training documents that contain a test question.

A question of at least `ngram` words is contained if one run of `ngram` of its words is (n-gram
overlap, Brown et al. 2020, appendix C); a shorter one, if all its words occur in a row. Words are
compared in lower case without punctuation. All needles go into one table by length, so a document
costs one pass for each length that occurs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class Needles:
    """Hold runs of words to look for, by length: joined words to the id of their question."""

    by_length: Mapping[int, Mapping[str, str]]
    ignored: int
    """Questions too short to be looked for."""

    def find(self, text: str) -> tuple[str, str] | None:
        """Return (id of the question, the words found) of the first run in `text`, or None."""
        present = words(text)
        for length, runs in self.by_length.items():
            for start in range(len(present) - length + 1):
                run = " ".join(present[start : start + length])
                if run in runs:
                    return runs[run], run
        return None


def needles(questions: Iterable[tuple[str, str]], *, ngram: int, shortest: int) -> Needles:
    """Prepare (id, text) of questions; those of fewer than `shortest` words are ignored."""
    table: dict[int, dict[str, str]] = defaultdict(dict)
    ignored = 0
    for identity, text in questions:
        inside = words(text)
        if len(inside) < shortest:
            ignored += 1
            continue
        length = min(ngram, len(inside))
        for start in range(len(inside) - length + 1):
            table[length].setdefault(" ".join(inside[start : start + length]), identity)
    return Needles({length: table[length] for length in sorted(table)}, ignored)
