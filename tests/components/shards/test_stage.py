import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from components.artifacts.types import DOMAINS
from components.contract import BadInput, StageContext, Stopped
from components.shards.config import ShardsConfig
from components.shards.loader import open_shards
from components.shards.stage import run
from components.tokenizer.contract import load_tokenizer
from tests.components.shards.conftest import QUESTION, Given

Make = Callable[..., StageContext]


def add(given: Given, texts: list[str], split: str = "train") -> None:
    path = given.inputs.corpus.documents(split, "general")
    before = parquet.read_table(path)
    more = pa.table({"id": [f"f{n:015x}" for n in range(len(texts))], "text": texts})
    parquet.write_table(pa.concat_tables([before, more]), path)


def test_documents_come_back_from_the_tokens(given: Given, make_context: Make) -> None:
    context = make_context()
    run(ShardsConfig(), given.inputs, context)
    shards = open_shards(context.out)
    tokenizer = load_tokenizer(given.inputs.tokenizer.path)
    assert shards.tokenizer_digest == tokenizer.digest
    for (split, name), texts in given.texts.items():
        domain = shards.splits[split][name]
        assert domain.ids == list(texts)
        assert domain.bytes == sum(len(text.encode()) for text in texts.values())
        for number, text in enumerate(texts.values()):
            start, end = domain.offsets[number : number + 2]
            ids = domain.data[start:end].tolist()
            assert ids[0] == tokenizer.bos
            assert tokenizer.decode(ids[1:]) == text
        assert domain.data.dtype == np.dtype("<u2")


def test_facts_and_index_agree(given: Given, make_context: Make) -> None:
    context = make_context()
    facts = run(ShardsConfig(), given.inputs, context)
    index = json.loads((context.out / "index.json").read_text())
    for domain in DOMAINS:
        known = index["splits"]["train"][domain]
        size = (context.out / "train" / f"{domain}.tokens").stat().st_size
        assert facts.tokens[domain] == known["tokens"] == size // 2
        assert facts.documents[domain] == known["documents"] == 20
    assert facts.contaminated == dict.fromkeys(DOMAINS, 0)


def test_contaminated_documents_are_dropped_from_training_only(
    given: Given, make_context: Make
) -> None:
    marked = [
        f"Before. {QUESTION.upper()} After.",
        "the harbour between THE two -- long rivers; of the northern coast road",
        "They asked: what is 823 * 46? Nobody knew.",
    ]
    clean = ["between the two long rivers of the southern coast", "what is 823 * 47?", "Why?"]
    add(given, [*marked, *clean])
    add(given, marked, "heldout")
    context = make_context()
    facts = run(ShardsConfig(), given.inputs, context)
    assert facts.contaminated["general"] == 3
    assert facts.documents["general"] == 20 + len(clean)
    report = json.loads((context.out / "report.json").read_text())
    assert report["dropped"]["general"]["questions"] == {"q1": 2, "q2": 1}
    assert report["questions_too_short"] == 1
    shards = open_shards(context.out)
    assert shards.splits["heldout"]["general"].documents == 23


def test_equal_input_gives_equal_bytes(given: Given, make_context: Make) -> None:
    first, second = make_context("one"), make_context("two")
    run(ShardsConfig(), given.inputs, first)
    run(ShardsConfig(), given.inputs, second)
    paths = [path for path in sorted(first.out.rglob("*")) if path.is_file()]
    assert len(paths) == 2 * 3 * 3 + 2
    for path in paths:
        assert path.read_bytes() == (second.out / path.relative_to(first.out)).read_bytes()


def test_long_documents_are_cut(given: Given, make_context: Make) -> None:
    add(given, ["sea " * 100])
    context = make_context()
    run(ShardsConfig(max_document_tokens=50), given.inputs, context)
    domain = open_shards(context.out).splits["train"]["general"]
    assert int(np.diff(domain.offsets).max()) == 50


def test_nothing_left_is_an_error(given: Given, make_context: Make) -> None:
    empty = pa.table({"id": pa.array([], pa.string()), "text": pa.array([], pa.string())})
    for domain in DOMAINS:
        parquet.write_table(empty, given.inputs.corpus.documents("train", domain))
    with pytest.raises(BadInput, match="no training text is left"):
        run(ShardsConfig(), given.inputs, make_context())


def test_stop_is_heeded(given: Given, make_context: Make) -> None:
    with pytest.raises(Stopped):
        run(ShardsConfig(), given.inputs, make_context(stop_requested=lambda: True))


def test_damaged_shards_are_named(given: Given, make_context: Make, tmp_path: Path) -> None:
    context = make_context()
    run(ShardsConfig(), given.inputs, context)
    tokens = context.out / "train" / "code.tokens"
    tokens.write_bytes(tokens.read_bytes()[:-2])
    with pytest.raises(BadInput, match="damaged or missing"):
        open_shards(context.out)
    with pytest.raises(BadInput, match="holds no shards"):
        open_shards(tmp_path)
