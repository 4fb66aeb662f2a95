from pathlib import Path

import numpy as np
import pytest

from components.shards.loader import open_shards
from components.shards.pack import token_type, write_shards
from components.tokenizer.contract import build, load_tokenizer


@pytest.mark.parametrize(("vocab", "name"), [(300, "<u2"), (65_536, "<u2"), (65_537, "<u4")])
def test_smallest_type_that_holds_every_id(vocab: int, name: str) -> None:
    assert token_type(vocab) == name
    assert np.iinfo(np.dtype(name)).max >= vocab - 1


def test_texts_are_written_as_shards(tmp_path: Path) -> None:
    build(tmp_path / "tokenizer")
    tokenizer = load_tokenizer(tmp_path / "tokenizer")
    texts = {"train": {"code": ["x = 1"]}, "heldout": {"code": ["y", "z"]}}
    write_shards(tmp_path / "shards", texts, tokenizer)
    tokens, size = open_shards(tmp_path / "shards").heldout("code", 100)
    assert tokens.tolist() == [tokenizer.bos, ord("y"), tokenizer.bos, ord("z")]
    assert size == 2
