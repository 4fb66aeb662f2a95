"""Worlds, and which environment a task opens; errors that are injected on purpose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.agents.conversation import ToolCall
from components.agents.environment import (
    TRANSIENT_ERROR,
    Entry,
    World,
    inject_errors,
    load_world,
    open_environment,
    same_answer,
)

CALL = ToolCall("calc", {"e": "1 + 1"})
TASK = {"id": "t", "environment": "calculator", "answer": "2"}
EMPTY = World({}, {}, Path("nowhere"))


def test_world_comes_from_its_directory(tmp_path: Path) -> None:
    entry = {"key": "823", "title": "Red fox", "kind": "animal", "text": "", "references": ["1"]}
    (tmp_path / "entries.jsonl").write_text(json.dumps(entry) + "\n", encoding="utf-8")
    (tmp_path / "prices.json").write_text('{"823": 31}', encoding="utf-8")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "901.csv").write_text("x", encoding="utf-8")
    world = load_world(tmp_path)
    assert world.entries["823"] == Entry("823", "Red fox", "animal", "", ("1",))
    assert world.prices == {"823": 31}
    assert world.file_names == ("901.csv",)
    assert world.by_word["fox"] == ("823",)


def test_an_empty_directory_is_an_empty_world(tmp_path: Path) -> None:
    world = load_world(tmp_path)
    assert not world.entries
    assert not world.prices
    assert world.file_names == ()


def test_unknown_environment_and_missing_sandbox() -> None:
    with pytest.raises(ValueError, match="unknown environment 'x'"):
        open_environment({**TASK, "environment": "x"}, EMPTY)
    with pytest.raises(ValueError, match="needs a sandbox"):
        open_environment({**TASK, "environment": "files"}, EMPTY)


def test_injected_error_comes_once_and_first() -> None:
    environment = inject_errors(open_environment(TASK, EMPTY), TASK, seed=0)
    first, second = environment.execute(CALL), environment.execute(CALL)
    assert (first.text, first.failed, first.infrastructure) == (TRANSIENT_ERROR, True, False)
    assert (second.text, second.failed) == ("2", False)
    assert environment.check("2")
    environment.close()


def test_injection_depends_on_seed_and_task_only() -> None:
    def chosen(seed: int) -> list[bool]:
        results: list[bool] = []
        for number in range(200):
            task = {**TASK, "id": f"t{number}"}
            plain = open_environment(task, EMPTY)
            results.append(inject_errors(plain, task, seed=seed, rate=0.3) is not plain)
        return results

    assert chosen(0) == chosen(0)
    assert chosen(0) != chosen(1)
    assert 0.2 < sum(chosen(0)) / 200 < 0.4


def test_answers_are_compared_without_fuss() -> None:
    assert same_answer(" Animal.\n", "animal")
    assert same_answer("37858", "37858")
    assert not same_answer("37858 apples", "37858")
    assert not same_answer("", "37858")
