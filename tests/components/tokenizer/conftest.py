"""A small corpus with some of every kind of character, and a tokenizer trained on it."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from components.artifacts.types import DOMAINS, Corpus
from components.contract import Resources, StageContext
from components.tokenizer.config import TokenizerConfig, TokenizerInputs
from components.tokenizer.contract import TextTokenizer, load_tokenizer
from components.tokenizer.stage import run
from components.tracking.journal import Journal

TEXTS = {
    "general": "The sea is wide, and in 1999 the wind's cold; she'll wait. 海は広い。한국어 ",
    "stem": "f(x) = x**2 + 3.14159 for x in R; see [12], pp. 100-200. 数式 ",
    "code": "def area(radius):\n    return 3.14 * radius ** 2  # of a circle\n\n",
}


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    made = Corpus(tmp_path_factory.mktemp("corpus"), "corpus", "c" * 64, "d" * 64)
    for split in ("train", "heldout"):
        (made.path / split).mkdir()
        for domain in DOMAINS:
            words = TEXTS[domain].split(" ")
            texts = [" ".join(words[n % 7 :] + words[: n % 7]) * 3 for n in range(40)]
            table = pa.table({"id": [f"{n:016x}" for n in range(40)], "text": texts})
            parquet.write_table(table, made.documents(split, domain))
    return made


@pytest.fixture(scope="session")
def make_context(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., StageContext]:
    def make(**changes: object) -> StageContext:
        home = tmp_path_factory.mktemp("attempt")
        for part in ("out", "resume", "scratch"):
            (home / part).mkdir()
        values = {
            "out": home / "out",
            "resume": home / "resume",
            "earlier_resumes": (),
            "scratch": home / "scratch",
            "journal": Journal(home / "journal"),
            "resources": Resources(threads=1),
            "step": "tokenizer",
        }
        return StageContext(**(values | changes))

    return make


@pytest.fixture(scope="session")
def trained(corpus: Corpus, make_context: Callable[..., StageContext]) -> Path:
    context = make_context()
    run(TokenizerConfig(vocab_size=360), TokenizerInputs(corpus=corpus), context)
    return context.out


@pytest.fixture(scope="session")
def tokenizer(trained: Path) -> TextTokenizer:
    return load_tokenizer(trained)
