"""What the stage writes: disjoint splits, answers the tools agree with, equal bytes each time."""

from __future__ import annotations

import json
import shutil
from itertools import combinations
from pathlib import Path

import pytest

from components.agents.conversation import ToolCall
from components.agents.environment import load_world, open_environment
from components.artifacts.types import Corpus, Tasks
from components.contract import BadInput
from components.sandbox.interface import open_sandbox
from components.tasks.config import FAMILIES, TasksConfig, TasksInputs
from components.tasks.splits import SPLITS
from components.tasks.stage import run
from components.tasks.task import read_tasks
from tests.components.tasks.conftest import CONFIG
from tests.components.tasks.library_corpus import build_corpus, contents, context_for


def all_tasks(tasks: Tasks) -> dict[str, list[dict]]:
    return {split: list(read_tasks(tasks.split(split))) for split in SPLITS}


def test_splits_hold_what_was_asked_for(made: Tasks) -> None:
    tasks = all_tasks(made)
    assert {split: len(tasks[split]) for split in SPLITS} == CONFIG.counts.model_dump()
    for split in SPLITS:
        assert {task["family"] for task in tasks[split]} == set(FAMILIES)
        assert all(task["split"] == split for task in tasks[split])


def test_no_source_and_no_question_is_in_two_splits(made: Tasks) -> None:
    tasks = all_tasks(made)
    for one, other in combinations(SPLITS, 2):
        for field in ("source", "question", "id"):
            shared = {t[field] for t in tasks[one]} & {t[field] for t in tasks[other]}
            assert not shared, f"{field} shared by {one} and {other}: {sorted(shared)[:3]}"


def test_ids_are_unique(made: Tasks) -> None:
    ids = [task["id"] for tasks in all_tasks(made).values() for task in tasks]
    assert len(ids) == len(set(ids))


def test_an_entry_opened_in_two_hops_belongs_to_the_same_split(made: Tasks) -> None:
    opened = {
        split: {t["steps"][-1]["arguments"]["k"] for t in tasks if t["environment"] == "lookup"}
        for split, tasks in all_tasks(made).items()
    }
    for one, other in combinations(SPLITS, 2):
        assert not opened[one] & opened[other]


def test_keys_stand_at_the_end_of_the_question(made: Tasks) -> None:
    for task in all_tasks(made)["test"]:
        if "key" in task["world"]:
            assert task["question"].endswith(f"{task['world']['key']}?")


def test_the_reference_steps_lead_to_the_answer_when_really_executed(made: Tasks) -> None:
    world = load_world(made.world)
    sandbox = open_sandbox("bubblewrap", world.files)
    try:
        for task in all_tasks(made)["test"]:
            environment = open_environment(task, world, sandbox)
            steps = [ToolCall(step["name"], step["arguments"]) for step in task["steps"]]
            results = [environment.execute(step) for step in steps]
            first_fails = task["family"] == "repair"
            assert [result.failed for result in results] == [
                first_fails and number == 0 for number in range(len(steps))
            ]
            said = results[-1].text
            separator = ":" if task["environment"] == "lookup" else " "
            assert environment.check(said.split(separator)[0])
            assert not environment.check(said.split(separator)[0] + "1")
    finally:
        sandbox.close()


def test_equal_configuration_gives_equal_bytes(corpus: Corpus, made: Tasks, tmp_path: Path) -> None:
    context = context_for(tmp_path)
    run(CONFIG, TasksInputs(corpus=corpus), context)
    assert contents(context.out) == contents(made.path)


def test_another_seed_keeps_test_sources_out_of_training(
    corpus: Corpus, made: Tasks, tmp_path: Path
) -> None:
    context = context_for(tmp_path)
    run(CONFIG.model_copy(update={"seed": 7}), TasksInputs(corpus=corpus), context)
    trained_on = {task["source"] for task in read_tasks(context.out / "midtrain.jsonl")}
    assert not trained_on & {task["source"] for task in all_tasks(made)["test"]}
    assert contents(context.out) != contents(made.path)


def test_held_out_families_are_only_tested(corpus: Corpus, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"held_out_families": ("prices",)})
    context = context_for(tmp_path)
    facts = run(config, TasksInputs(corpus=corpus), context)
    assert all("prices" not in facts.families[split] for split in ("midtrain", "sft", "rl"))
    assert all(facts.families[split]["prices"] > 0 for split in ("dev", "test"))
    assert facts.tasks["midtrain"] == config.counts.midtrain


def test_words_need_a_search_first(corpus: Corpus, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"phrasing": "words"})
    context = context_for(tmp_path)
    run(config, TasksInputs(corpus=corpus), context)
    tasks = list(read_tasks(context.out / "test.jsonl"))
    research = [task for task in tasks if task["environment"] == "lookup"]
    assert research
    assert all(task["steps"][0]["name"] == "search" for task in research)
    world = load_world(context.out / "world")
    for task in research:
        environment = open_environment(task, world)
        found = environment.execute(ToolCall("search", task["steps"][0]["arguments"]))
        assert found.text.split()[0] == task["steps"][1]["arguments"]["k"]


def test_contaminants_name_every_question_of_dev_and_test(made: Tasks) -> None:
    texts = {record["text"] for record in read_tasks(made.path / "contaminants.jsonl")}
    tasks = all_tasks(made)
    assert {task["question"] for split in ("dev", "test") for task in tasks[split]} <= texts
    prompts = [item["prompt"] for item in read_tasks(made.benchmark("multiple_choice"))]
    assert all(prompt.rsplit("\n", 1)[0] in texts for prompt in prompts)


def test_report_equals_the_facts(made: Tasks) -> None:
    assert json.loads((made.path / "report.json").read_text(encoding="utf-8")) == made.facts


def test_a_corpus_without_classes_is_bad_input_only_for_families_that_need_them(
    tmp_path: Path,
) -> None:
    corpus = build_corpus(tmp_path / "corpus", kinds=False)
    with pytest.raises(BadInput, match="lookup and inverse"):
        run(CONFIG, TasksInputs(corpus=corpus), context_for(tmp_path / "all"))
    config = CONFIG.model_copy(update={"families": ("calculator", "files")})
    facts = run(config, TasksInputs(corpus=corpus), context_for(tmp_path / "some"))
    assert facts.tasks["test"] == CONFIG.counts.test
    assert facts.benchmarks["multiple_choice"] == 0


def test_a_damaged_file_changes_what_the_tool_says(made: Tasks, tmp_path: Path) -> None:
    shutil.copytree(made.world, tmp_path / "world")
    task = next(t for t in all_tasks(made)["test"] if t["family"] == "files")
    (tmp_path / "world" / "files" / task["world"]["asked"]).write_text("x", encoding="utf-8")
    world = load_world(tmp_path / "world")
    sandbox = open_sandbox("bubblewrap", world.files)
    try:
        environment = open_environment(task, world, sandbox)
        step = task["steps"][0]
        said = environment.execute(ToolCall(step["name"], step["arguments"]))
        assert not environment.check(said.text.split()[0])
    finally:
        sandbox.close()


def test_defaults_fit_a_thousand_keys() -> None:
    assert TasksConfig().key_digits == 3
