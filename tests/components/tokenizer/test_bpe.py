import json
from collections import Counter
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Library

from components.contract import BadInput
from components.tokenizer.bpe import learn_merges, merge, merges_of, several_digits
from components.tokenizer.contract import TextTokenizer, build, load_tokenizer
from components.tokenizer.pretokenize import pre_tokenizer, split_cjk

TEXTS = [
    "low lower lowest newer newest wide wider 2024 20245 ",
    "海は広い、海は青い。low海low ",
] * 5


def test_first_merge_is_the_commonest_pair() -> None:
    ((first, second), *_) = learn_merges(["aab aab aab ab ab"], 1)
    assert (first, second) == (b"a", b"b")


def test_equal_text_gives_equal_merges() -> None:
    assert learn_merges(TEXTS, 30) == learn_merges(TEXTS, 30)


def test_no_token_holds_two_digits_or_mixes_scripts() -> None:
    merges = learn_merges(["20242024 123 low海low 海海 "] * 50, 6)
    assert not several_digits(merges)
    tokens = [first + second for first, second in merges]
    assert "海海".encode() in tokens
    assert not [t for t in tokens if b"w" in t and max(t) > 127]
    assert several_digits([(b"1", b"2"), (b"1", b"a")]) == [b"12"]


def test_too_little_text_says_by_how_much() -> None:
    with pytest.raises(BadInput, match="vocab_size by"):
        learn_merges(["ab ab"], 100)


def test_merges_are_read_back_from_ranks() -> None:
    ranks = {bytes([n]): n for n in range(256)}
    ranks |= {b"ab": 256, b"abc": 257, b"cab": 258}
    assert merges_of(ranks) == [(b"a", b"b"), (b"ab", b"c"), (b"c", b"ab")]
    assert merge(b"abcab", ranks, below=258) == [b"abc", b"ab"]


def test_every_token_is_reached_by_its_own_text(tmp_path: Path) -> None:
    merges = learn_merges(TEXTS, 35)
    build(tmp_path, merges)
    tokenizer = load_tokenizer(tmp_path)
    for number, (first, second) in enumerate(merges, 256):
        try:
            text = (first + second).decode()
        except UnicodeDecodeError:
            continue  # half of a character is reached inside a longer text
        assert tokenizer.encode(text) == [number], text


def test_pieces_before_the_trainer_are_those_of_the_library(tokenizer: TextTokenizer) -> None:
    """Both patterns in sequence, as the library runs them, cut where our split and the second
    pattern do."""
    description = json.dumps(
        {
            "model": {"type": "BPE", "vocab": {}, "merges": []},
            "pre_tokenizer": pre_tokenizer(),
            "added_tokens": [],
        }
    )
    whole = Library.from_str(description).pre_tokenizer
    for text in [*TEXTS, "  two  spaces\n\n\tx = 12;", "그는 12개를, 말했다", "a…b“c”"]:
        pieces = [piece for part in split_cjk(text) for piece, _ in whole.pre_tokenize_str(part)]
        assert Counter(pieces) == Counter(piece for piece, _ in whole.pre_tokenize_str(text))
