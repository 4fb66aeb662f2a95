"""Find training documents that contain a test question.

A question of at least `ngram` words is contained if one run of `ngram` of its words is (n-gram
overlap, Brown et al. 2020, appendix C); a shorter one, if all its words occur in a row. Words are
compared in lower case without punctuation. Runs are looked up at the words that begin one, so a
document costs one pass.
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
    """Hold runs of words to look for: joined words to the id of their question."""

    runs: Mapping[str, str]
    lengths: Mapping[str, tuple[int, ...]]
    """Lengths of the runs that begin with a word."""
    ignored: int
    """Questions too short to be looked for."""

    def find(self, text: str) -> tuple[str, str] | None:
        """Return (id of the question, the words found) of the first run in `text`, or None."""
        present = words(text)
        for start, word in enumerate(present):
            for length in self.lengths.get(word, ()):
                run = " ".join(present[start : start + length])
                if run in self.runs:
                    return self.runs[run], run
        return None


def needles(questions: Iterable[tuple[str, str]], *, ngram: int, shortest: int) -> Needles:
    """Prepare (id, text) of questions; those of fewer than `shortest` words are ignored."""
    runs: dict[str, str] = {}
    lengths: dict[str, set[int]] = defaultdict(set)
    ignored = 0
    for identity, text in questions:
        inside = words(text)
        if len(inside) < shortest:
            ignored += 1
            continue
        length = min(ngram, len(inside))
        for start in range(len(inside) - length + 1):
            runs.setdefault(" ".join(inside[start : start + length]), identity)
            lengths[inside[start]].add(length)
    return Needles(runs, {word: tuple(sorted(each)) for word, each in lengths.items()}, ignored)
