from __future__ import annotations

from pathlib import Path

import pytest

from components.tokenizer.contract import build, load_tokenizer


@pytest.fixture
def tokenizer(tmp_path: Path):
    build(tmp_path, merges=[(b"t", b"h"), (b"th", b"e")])
    return load_tokenizer(tmp_path)


def test_text_comes_back_and_digits_stay_single(tokenizer):
    text = "the 823 * 46, naïve 漢字\n"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode("823")) == 3
    assert len(tokenizer.encode("the")) == 1


def test_text_that_spells_a_special_token_stays_text(tokenizer):
    special = set(tokenizer.special.values())
    for spelling in tokenizer.special:
        assert not special & set(tokenizer.encode(f"a {spelling} b")), spelling


def test_a_batch_equals_single_calls(tokenizer):
    texts = ["one", "", "the three"]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


def test_the_digest_knows_the_vocabulary(tmp_path: Path, tokenizer):
    other = tmp_path / "other"
    other.mkdir()
    build(other, merges=[(b"t", b"h")])
    assert load_tokenizer(other).digest != tokenizer.digest
