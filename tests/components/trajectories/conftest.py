"""Tasks made from the library corpus, and one small trajectories artifact made from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from components.artifacts.types import Tasks, Tokenizer, Trajectories
from components.tasks import stage as tasks_stage
from components.tasks.config import BenchmarkCounts, SplitCounts, TasksConfig, TasksInputs
from components.tokenizer.contract import build
from components.trajectories import stage
from components.trajectories.config import TrajectoriesConfig, TrajectoriesInputs
from tests.components.tasks.library_corpus import build_corpus, context_for

CONFIG = TrajectoriesConfig(midtrain=200, sft=40)


@pytest.fixture(scope="session", params=["keys", "words"])
def inputs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> TrajectoriesInputs:
    corpus = build_corpus(tmp_path_factory.mktemp("corpus"))
    context = context_for(tmp_path_factory.mktemp("tasks"))
    config = TasksConfig(
        phrasing=request.param,
        counts=SplitCounts(midtrain=180, sft=60, rl=6, dev=6, test=6),
        benchmarks=BenchmarkCounts(multiple_choice=0, function_call=0, planning=0),
        entries=400,
        files=300,
    )
    tasks_stage.run(config, TasksInputs(corpus=corpus), context)
    tokenizer = tmp_path_factory.mktemp("tokenizer")
    build(tokenizer)
    return TrajectoriesInputs(
        corpus=corpus,
        tokenizer=Tokenizer(tokenizer, "tokenizer", "key", "digest"),
        tasks=Tasks(context.out, "tasks", "key", "digest"),
    )


@pytest.fixture
def make(inputs: TrajectoriesInputs) -> Callable[[TrajectoriesConfig, Path], Trajectories]:
    """Run the stage; its tokenizer is a real one without merges, so a token is a byte."""

    def run(config: TrajectoriesConfig, directory: Path) -> Trajectories:
        context = context_for(directory)
        facts = stage.run(config, inputs, context)
        return Trajectories(context.out, "trajectories", "key", "digest", facts.model_dump())

    return run
