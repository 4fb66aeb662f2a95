import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from pydantic import ValidationError

from components.artifacts.types import DOMAINS, Corpus
from components.contract import BadInput, StageContext, Stopped
from components.tokenizer.config import TokenizerConfig, TokenizerInputs
from components.tokenizer.contract import load_tokenizer
from components.tokenizer.stage import run

Make = Callable[..., StageContext]
SMALL = TokenizerConfig(vocab_size=360)


def test_folder_is_complete_and_repeatable(
    corpus: Corpus, trained: Path, make_context: Make
) -> None:
    again = make_context()
    facts = run(SMALL, TokenizerInputs(corpus=corpus), again)
    names = {path.name for path in again.out.iterdir()}
    assert names == {
        "chat_template.jinja",
        "contract.json",
        "report.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    for name in names:
        assert (again.out / name).read_bytes() == (trained / name).read_bytes()
    assert facts.contract == load_tokenizer(trained).digest
    assert facts.vocab_size == 360


def test_report_measures_heldout_text(corpus: Corpus, trained: Path) -> None:
    report = json.loads((trained / "report.json").read_text())
    assert set(report["heldout"]) == set(DOMAINS)
    tokenizer = load_tokenizer(trained)
    rows = parquet.read_table(corpus.documents("heldout", "stem"))["text"].to_pylist()
    tokens = sum(map(len, tokenizer.encode_batch(rows)))
    size = sum(len(text.encode()) for text in rows)
    assert report["heldout"]["stem"]["bytes_per_token"] == round(size / tokens, 4)
    assert report["heldout"]["stem"]["bytes_per_token"] > 1.2


def test_weights_choose_the_domains(corpus: Corpus, make_context: Make) -> None:
    context = make_context()
    config = TokenizerConfig(vocab_size=300, sample_bytes=4000, weights={"code": 1.0})
    facts = run(config, TokenizerInputs(corpus=corpus), context)
    assert 3000 < facts.sampled_bytes <= 4000
    assert json.loads((context.out / "report.json").read_text())["sampled_bytes"].keys() == {"code"}


def test_corpus_without_text_is_refused(corpus: Corpus, make_context: Make, tmp_path: Path) -> None:
    shutil.copytree(corpus.path, tmp_path / "empty")
    empty = Corpus(tmp_path / "empty", "corpus", "c", "d")
    none = pa.table({"id": pa.array([], pa.string()), "text": pa.array([], pa.string())})
    for domain in DOMAINS:
        parquet.write_table(none, empty.documents("train", domain))
    with pytest.raises(BadInput, match="no training text"):
        run(SMALL, TokenizerInputs(corpus=empty), make_context())


def test_vocabulary_too_large_for_the_text_is_refused(corpus: Corpus, make_context: Make) -> None:
    with pytest.raises(BadInput, match=r"lower tokenizer\.vocab_size"):
        run(TokenizerConfig(vocab_size=30_000), TokenizerInputs(corpus=corpus), make_context())


def test_stop_is_heeded(corpus: Corpus, make_context: Make) -> None:
    with pytest.raises(Stopped):
        run(SMALL, TokenizerInputs(corpus=corpus), make_context(stop_requested=lambda: True))


def test_unknown_domain_is_named() -> None:
    with pytest.raises(ValidationError, match="weights names 'poetry'"):
        TokenizerConfig(weights={"poetry": 1.0})
