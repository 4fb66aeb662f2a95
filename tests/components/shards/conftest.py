"""A corpus, a byte-level tokenizer and questions, made here."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from components.artifacts.types import DOMAINS, Corpus, Tasks, Tokenizer
from components.contract import Resources, StageContext
from components.shards.config import ShardsInputs
from components.tokenizer.contract import build
from components.tracking.journal import Journal

QUESTION = "Which harbour lies between the two long rivers of the northern coast?"


@dataclass(frozen=True)
class Given:
    inputs: ShardsInputs
    texts: dict[tuple[str, str], dict[str, str]]


@pytest.fixture
def given(tmp_path: Path) -> Given:
    corpus = Corpus(tmp_path / "corpus", "corpus", "c" * 64, "d" * 64)
    tokenizer = Tokenizer(tmp_path / "tokenizer", "tokenizer", "t" * 64, "e" * 64)
    tasks = Tasks(tmp_path / "tasks", "tasks", "a" * 64, "b" * 64)
    texts: dict[tuple[str, str], dict[str, str]] = {}
    for split in ("train", "heldout"):
        (corpus.path / split).mkdir(parents=True)
        for number, domain in enumerate(DOMAINS):
            made = {f"{n:016x}": f"{split} {domain} é {n} " * (n % 5 + number) for n in range(20)}
            texts[split, domain] = made
            table = pa.table({"id": list(made), "text": list(made.values())})
            parquet.write_table(table, corpus.documents(split, domain))
    build(tokenizer.path)
    tasks.path.mkdir()
    asked = [("q1", QUESTION), ("q2", "What is 823 * 46?"), ("q3", "Why?")]
    lines = [json.dumps({"id": identity, "text": text}) for identity, text in asked]
    (tasks.path / "contaminants.jsonl").write_text("\n".join(lines) + "\n")
    return Given(ShardsInputs(corpus=corpus, tokenizer=tokenizer, tasks=tasks), texts)


@pytest.fixture
def make_context(tmp_path: Path) -> Callable[..., StageContext]:
    def make(name: str = "a", **changes: object) -> StageContext:
        home = tmp_path / "attempts" / name
        for part in ("out", "resume", "scratch"):
            (home / part).mkdir(parents=True)
        values = {
            "out": home / "out",
            "resume": home / "resume",
            "earlier_resumes": (),
            "scratch": home / "scratch",
            "journal": Journal(home / "journal"),
            "resources": Resources(threads=1),
            "step": "shards",
        }
        return StageContext(**(values | changes))

    return make
