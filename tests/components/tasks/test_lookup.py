"""Research tasks: forward by key, inverse from a reference."""

from __future__ import annotations

from components.agents.environment import Entry
from components.tasks.lookup import INVERSE, LOOKUP, inverse_tasks, lookup_tasks
from components.tasks.splits import keys_by_split

KEYS = keys_by_split(3)["test"][:6]
ENTRIES = {
    key: Entry(key, f"title {key}", "animal" if number % 2 else "plant", "", ())
    for number, key in enumerate(KEYS)
}
ENTRIES[KEYS[0]] = Entry(KEYS[0], "dog", "plant", "", (KEYS[1],))


def test_lookup_visits_every_entry_with_every_wording() -> None:
    tasks = list(lookup_tasks("test", 0, "keys", ENTRIES))
    assert len({task.question for task in tasks}) == len(LOOKUP) * len(KEYS)
    assert sorted(task.world["key"] for task in tasks[: len(KEYS)]) == KEYS
    assert not list(lookup_tasks("dev", 0, "keys", ENTRIES))


def test_inverse_follows_the_reference() -> None:
    tasks = list(inverse_tasks("test", 0, "keys", ENTRIES))
    assert len(tasks) == len(INVERSE)
    for task in tasks:
        assert [step.name for step in task.steps] == ["cites", "open"]
        assert task.steps[1].arguments == {"k": KEYS[1]}
        assert task.answer == "animal"


def test_words_do_not_give_the_key_away() -> None:
    for task in inverse_tasks("test", 0, "words", ENTRIES):
        assert "key" not in task.world
        assert KEYS[0] not in task.question
        assert "dog" in task.question
