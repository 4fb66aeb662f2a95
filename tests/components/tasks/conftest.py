"""The library corpus and one set of tasks made from it, shared by the tests of this package."""

from __future__ import annotations

import pytest

from components.artifacts.types import Corpus, Tasks
from components.tasks.config import BenchmarkCounts, SplitCounts, TasksConfig, TasksInputs
from components.tasks.stage import run
from tests.components.tasks.library_corpus import build_corpus, context_for

CONFIG = TasksConfig(
    counts=SplitCounts(midtrain=360, sft=90, rl=120, dev=60, test=120),
    benchmarks=BenchmarkCounts(multiple_choice=30, function_call=30, planning=40),
    entries=400,
    files=300,
)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return build_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def made(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Tasks:
    context = context_for(tmp_path_factory.mktemp("tasks"))
    facts = run(CONFIG, TasksInputs(corpus=corpus), context)
    return Tasks(context.out, "tasks", "key", "digest", facts.model_dump())
