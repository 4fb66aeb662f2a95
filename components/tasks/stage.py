"""Stage `tasks`: make the world, the tasks of every split, the benchmark items, and what training
text must not hold.

The answers are computed here from the same world that the tools read; the trajectories stage runs
the tools for real and keeps only what agrees. Splits are disjoint by source: a key, an operand
pair, a file name, a held-out document.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from components.agents.environment import Entry, load_world
from components.contract import StageContext
from components.tasks.calculator import calculator_tasks
from components.tasks.config import Family, TasksConfig, TasksFacts, TasksInputs
from components.tasks.entries import choose_entries
from components.tasks.files import FileSettings, TextFile, file_tasks, write_files
from components.tasks.lookup import inverse_tasks, lookup_tasks
from components.tasks.multiple_choice import multiple_choice_items
from components.tasks.next_step import function_call_items, planning_items
from components.tasks.prices import price_list, price_tasks
from components.tasks.splits import SPLITS, draws
from components.tasks.task import Task, take, write_lines

LEARNED_FROM = ("midtrain", "sft", "rl")


@dataclass(frozen=True)
class _Material:
    """What questions are asked about."""

    entries: dict[str, Entry]
    prices: dict[str, int]
    files: dict[str, TextFile]


def run(config: TasksConfig, inputs: TasksInputs, context: StageContext) -> TasksFacts:
    """Write split files, `world/`, `benchmarks/`, `contaminants.jsonl` and `report.json`."""
    material = _write_world(config, inputs, context.out / "world")
    splits = {split: _split_tasks(config, split, material) for split in SPLITS}
    for split, tasks in splits.items():
        write_lines(context.out / f"{split}.jsonl", (task.to_json() for task in tasks))
        context.journal.event("split", name=split, tasks=len(tasks))
    benchmarks = _write_benchmarks(config, inputs, context.out, splits["test"])
    _write_contaminants(context.out, [*splits["dev"], *splits["test"]])
    facts = TasksFacts(
        tasks={split: len(tasks) for split, tasks in splits.items()},
        families={
            split: dict(sorted(Counter(task.family for task in tasks).items()))
            for split, tasks in splits.items()
        },
        benchmarks=benchmarks,
        entries=len(material.entries),
        files=len(material.files),
    )
    (context.out / "report.json").write_text(
        json.dumps(facts.model_dump(), indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )
    return facts


def _write_world(config: TasksConfig, inputs: TasksInputs, directory: Path) -> _Material:
    directory.mkdir(parents=True)
    families = set(config.families)
    entries: dict[str, Entry] = {}
    prices: dict[str, int] = {}
    files: dict[str, TextFile] = {}
    if families & {"lookup", "inverse"}:
        entries = choose_entries(
            inputs.corpus, seed=config.seed, most=config.entries, digits=config.key_digits
        )
    if "prices" in families:
        prices = price_list(config.seed, config.key_digits)
    if families & {"files", "repair"}:
        settings = FileSettings(
            config.seed, config.phrasing, config.key_digits, config.files, config.max_file_bytes
        )
        files = write_files(inputs.corpus, directory / "files", settings)
    write_lines(directory / "entries.jsonl", (asdict(entry) for entry in entries.values()))
    (directory / "prices.json").write_text(
        json.dumps(prices, sort_keys=True) + "\n", encoding="utf-8"
    )
    return _Material(entries, prices, files)


def _split_tasks(config: TasksConfig, split: str, material: _Material) -> list[Task]:
    """Return a split's tasks, families shuffled together."""
    held_out = config.held_out_families if split in LEARNED_FROM else ()
    families: list[Family] = [family for family in config.families if family not in held_out]
    total: int = getattr(config.counts, split)
    tasks: list[Task] = []
    for number, family in enumerate(families):
        share = total // len(families) + (number < total % len(families))
        tasks += take(_candidates(config, family, split, material), share)
    draws(config.seed, "order", split).shuffle(tasks)
    return tasks


def _candidates(
    config: TasksConfig, family: Family, split: str, material: _Material
) -> Iterator[Task]:
    seed, phrasing = config.seed, config.phrasing
    if family == "calculator":
        return calculator_tasks(split, seed, phrasing, config.key_digits)
    if family == "prices":
        return price_tasks(split, seed, phrasing, material.prices)
    if family == "lookup":
        return lookup_tasks(split, seed, phrasing, material.entries)
    if family == "inverse":
        return inverse_tasks(split, seed, phrasing, material.entries)
    words = phrasing == "words"
    return file_tasks(family, split, seed, material.files, words=words, measures=config.measures)


def _write_benchmarks(
    config: TasksConfig, inputs: TasksInputs, out: Path, test: list[Task]
) -> dict[str, int]:
    counts, seed = config.benchmarks, config.seed
    world = load_world(out / "world")
    items = {
        "multiple_choice": multiple_choice_items(inputs.corpus, seed, counts.multiple_choice),
        "function_call": function_call_items(test, counts.function_call),
        "planning": planning_items(test, world, seed, counts.planning),
    }
    return {
        name: write_lines(out / "benchmarks" / f"{name}.jsonl", records)
        for name, records in items.items()
    }


def _write_contaminants(out: Path, tasks: list[Task]) -> None:
    """List the texts that training text must not contain: questions, and the benchmark's
    documents.
    """
    texts = {task.id: task.question for task in tasks}
    with (out / "benchmarks" / "multiple_choice.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            item = json.loads(line)
            texts[item["id"]] = item["prompt"].rsplit("\n", 1)[0]
    write_lines(
        out / "contaminants.jsonl", ({"id": key, "text": texts[key]} for key in sorted(texts))
    )
