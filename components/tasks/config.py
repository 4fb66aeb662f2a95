"""Configuration, inputs and facts of the stage `tasks`."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

from components.artifacts.types import Corpus
from components.contract import Facts, StageConfig, StageInputs

Family = Literal["calculator", "lookup", "inverse", "prices", "files", "repair"]
Measure = Literal["bytes", "lines", "words"]

FAMILIES: tuple[Family, ...] = ("calculator", "lookup", "inverse", "prices", "files", "repair")


class SplitCounts(StageConfig):
    """Say how many tasks each split gets, all families together."""

    midtrain: NonNegativeInt = 6000
    sft: NonNegativeInt = 600
    rl: NonNegativeInt = 1500
    dev: NonNegativeInt = 300
    test: NonNegativeInt = 1200


class BenchmarkCounts(StageConfig):
    """Say how many items each benchmark gets."""

    multiple_choice: NonNegativeInt = 300
    function_call: NonNegativeInt = 300
    planning: NonNegativeInt = 300


class TasksConfig(StageConfig):
    """Choose families, phrasing and amounts; which key belongs to which split is fixed by hash."""

    seed: NonNegativeInt = 0
    families: tuple[Family, ...] = FAMILIES
    """Families of tasks; each gets an equal share of a split."""
    held_out_families: tuple[Family, ...] = ()
    """Families left out of midtrain, sft and rl but kept in dev and test: a transfer test."""
    phrasing: Literal["keys", "words"] = "keys"
    """`keys`: digits of a key at the end of the question, what a tiny model can learn. `words`:
    free phrasing, entries and files named by words, one more search call.
    """
    key_digits: PositiveInt = 3
    """Digits of a key; 3 give 1,000 keys for all splits together."""
    measures: tuple[Measure, ...] = ("bytes", "lines", "words")
    """What the questions about files ask for."""
    counts: SplitCounts = SplitCounts()
    benchmarks: BenchmarkCounts = BenchmarkCounts()
    entries: PositiveInt = 1000
    """Most entries the look-up tools serve; fewer where the corpus has fewer documents with a
    class.
    """
    files: PositiveInt = 900
    """Most files in the sandbox's working directory."""
    max_file_bytes: PositiveInt = 4000
    """Longest file, in bytes; longer documents are cut at a line."""


class TasksInputs(StageInputs):
    """Take the corpus: entries from its training documents, benchmark items from its held-out
    ones.
    """

    corpus: Corpus


class TasksFacts(Facts):
    """Count what was made; less than configured where keys or documents ran out."""

    tasks: dict[str, int]
    """Tasks by split."""
    families: dict[str, dict[str, int]]
    """Tasks by split and family."""
    benchmarks: dict[str, int]
    """Items by benchmark."""
    entries: int
    files: int
