"""The entries of the look-up tools: numeric keys, resolved references, classes in turn."""

from __future__ import annotations

from collections import Counter

from components.artifacts.types import Corpus
from components.tasks.entries import choose_entries
from components.tasks.splits import split_of


def test_references_are_entries_of_the_same_split(corpus: Corpus) -> None:
    entries = choose_entries(corpus, seed=0, most=300, digits=3)
    citing = [entry for entry in entries.values() if entry.references]
    assert len(citing) > 50
    for entry in citing:
        for key in entry.references:
            assert key in entries
            assert key != entry.key
            assert split_of(f"key:{key}") == split_of(f"key:{entry.key}")


def test_classes_take_turns(corpus: Corpus) -> None:
    entries = choose_entries(corpus, seed=0, most=80, digits=3)
    commonest = Counter(entry.kind for entry in entries.values()).most_common(1)[0][1]
    assert commonest <= 0.6 * len(entries)


def test_titles_are_unique_and_keys_sorted(corpus: Corpus) -> None:
    entries = choose_entries(corpus, seed=0, most=300, digits=3)
    assert len(entries) == 300
    assert list(entries) == sorted(entries)
    assert len({entry.title.lower() for entry in entries.values()}) == len(entries)


def test_few_keys_hold_few_entries(corpus: Corpus) -> None:
    assert len(choose_entries(corpus, seed=0, most=300, digits=1)) <= 10
