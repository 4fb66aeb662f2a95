import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library

from components.tokenizer.contract import byte_letters
from components.tokenizer.pretokenize import pre_tokenizer, split_cjk

CUT = Library.from_str(
    json.dumps(
        {
            "model": {"type": "BPE", "vocab": {}, "merges": []},
            "pre_tokenizer": pre_tokenizer(),
            "added_tokens": [],
        }
    )
).pre_tokenizer
BYTES = {letter: byte for byte, letter in enumerate(byte_letters())}


def pieces(text: str) -> list[str]:
    return [
        bytes(BYTES[letter] for letter in piece).decode() for piece, _ in CUT.pre_tokenize_str(text)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello world", ["Hello", " world"]),
        ("in 1999.", ["in", " ", "1", "9", "9", "9", "."]),
        ("she'll DON'T", ["she'll", " DON'T"]),
        ("camelCase HTTPServer", ["camel", "Case", " HTTPServer"]),
        ("a  b\n\n c", ["a", " ", " b", "\n\n", " c"]),
        ("x+=1;//y", ["x", "+=", "1", ";//", "y"]),
        ("海は広い。ok", ["海は広い", "。", "ok"]),
        ("abc한국어def", ["abc", "한국어", "def"]),
        ("ok，好", ["ok", "，", "好"]),
    ],
)
def test_cuts(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


@given(st.text(max_size=60))
def test_nothing_is_lost(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert "".join(split_cjk(text)) == text


@given(st.text(alphabet="a1 \n海。한é.'", max_size=30))
def test_no_piece_holds_two_digits_or_mixes_scripts(text: str) -> None:
    for piece in pieces(text):
        assert sum(letter.isdigit() for letter in piece) <= 1
        assert not ("海" in piece and "a" in piece)
