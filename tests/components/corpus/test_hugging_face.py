import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.contract import BadInput
from components.corpus.config import HuggingFaceDataset
from components.corpus.hugging_face import documents


def source(folder: Path, **changes: object) -> HuggingFaceDataset:
    return HuggingFaceDataset(name=str(folder), domain="general", **changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [json.dumps({"text": f"text {n}", "head": f"t{n}", "size": n}) for n in range(20)]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    return tmp_path


def test_rows_are_streamed_in_an_order_of_the_seed(folder: Path) -> None:
    first = list(documents(source(folder, title_column="head"), "commit:x", 0))
    assert sorted(document.text for document in first) == sorted(f"text {n}" for n in range(20))
    assert all(document.title == "t" + document.text[5:] for document in first)
    assert first == list(documents(source(folder, title_column="head"), "commit:x", 0))
    assert first != list(documents(source(folder, title_column="head"), "commit:x", 1))


def test_wrong_column_and_split_are_named(folder: Path) -> None:
    with pytest.raises(BadInput, match="column 'size' holds no text"):
        list(documents(source(folder, text_column="size"), "commit:x", 0))
    with pytest.raises(BadInput, match="nope"):
        list(documents(source(folder, split="nope"), "commit:x", 0))


def test_hub_that_is_away_is_worth_another_try() -> None:
    program = (
        "from components.contract import TryAgain\n"
        "from components.corpus.config import HuggingFaceDataset\n"
        "from components.corpus.hugging_face import revision\n"
        "try: revision(HuggingFaceDataset(name='owner/name', domain='general'))\n"
        "except TryAgain as error: print('again:', error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("again: the hub cannot be asked for owner/name")
