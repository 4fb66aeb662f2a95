"""The list of conversations: where each begins, and how it is narrowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboards import conversations
from dashboards.checkpoint_scores import files_of
from dashboards.conversations import Entry, Filter
from tests.dashboards.sample_home import SampleHome


@pytest.fixture
def path(sample: SampleHome) -> Path:
    from components.catalog.queries import artifact

    row = artifact(sample.catalog, sample.made["a/trajectories"].key)
    return files_of(sample.store, row) / "midtrain.jsonl"


@pytest.fixture
def entries(path: Path) -> list[Entry]:
    return conversations.index(path)


def test_every_conversation_is_found_where_it_begins(path: Path, entries: list[Entry]) -> None:
    assert len(entries) == 42
    for entry in entries:
        assert conversations.read(path, entry).id == entry.id
    assert conversations.index(path.with_name("none.jsonl")) == []


def test_filters(entries: list[Entry]) -> None:
    def count(**narrowed: str) -> int:
        return sum(Filter(**narrowed).takes(entry) for entry in entries)

    assert count() == 42
    assert count(family="math") == 12
    assert count(style="agentic_cot") == 12
    assert count(kind="branch") == count(kind="masked") == 6
    assert count(kind="plain") == 36
    assert count(family="math", kind="branch") == 0


def test_relatives_are_the_parent_and_its_branches(path: Path, entries: list[Entry]) -> None:
    branch = next(entry for entry in entries if entry.parent)
    (parent,) = conversations.relatives(entries, branch)
    assert parent.id == branch.parent
    assert conversations.relatives(entries, parent) == [branch]
    assert branch.mistake == "missing_extension"
    shared = conversations.shared_turns(
        conversations.read(path, branch), conversations.read(path, parent)
    )
    assert shared == 1


def test_choices_occur(entries: list[Entry]) -> None:
    assert conversations.choices(entries, "family") == ["code", "deep_research", "math"]
