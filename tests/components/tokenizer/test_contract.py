import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from components.contract import BadInput
from components.tokenizer.contract import (
    TextTokenizer,
    build,
    byte_letters,
    load_tokenizer,
)
from components.tokenizer.special_tokens import SPECIAL_TOKENS, special_names, special_slots


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    folder = tmp_path_factory.mktemp("bare")
    build(folder)
    return load_tokenizer(folder)


def test_without_merges_a_token_is_a_byte(bare: TextTokenizer) -> None:
    assert bare.encode("aé") == [97, 195, 169]
    assert bare.vocab_size == 256 + len(SPECIAL_TOKENS)
    assert list(bare.special) == list(SPECIAL_TOKENS)
    assert (bare.bos, bare.eos) == (256, 257)


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_text_never_becomes_a_special_token(tokenizer: TextTokenizer, token: str) -> None:
    """A document or a tool that spells a special token cannot forge a turn."""
    first = min(tokenizer.special.values())
    for text in (token, f"x{token}y", f"{token}{token}", f" {token}\n<|reserved_0|>"):
        ids = tokenizer.encode(text)
        assert max(ids) < first
        assert tokenizer.decode(ids) == text
        assert tokenizer.encode_batch([text]) == [ids]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_every_text_survives(bare: TextTokenizer, text: str) -> None:
    assert bare.decode(bare.encode(text)) == text


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_every_text_survives_merges(tokenizer: TextTokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_special_ids_end_the_vocabulary(tokenizer: TextTokenizer) -> None:
    assert tokenizer.vocab_size == 360
    assert sorted(tokenizer.special.values()) == list(range(344, 360))
    assert tokenizer.special["<|begin_of_text|>"] == 344
    assert tokenizer.special["<|reserved_3|>"] == 359


def test_paper_has_256_slots_after_128000() -> None:
    assert 128_256 - special_slots(128_256) == 128_000
    assert len(set(special_names(256))) == 256


def test_letters_are_those_of_the_library() -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    assert sorted(byte_letters()) == sorted(ByteLevel.alphabet())
    assert byte_letters()[ord(" ")] == "Ġ"
    assert byte_letters()[ord("\n")] == "Ċ"


def test_transformers_opens_saves_and_agrees(
    trained: Path, tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    theirs = AutoTokenizer.from_pretrained(trained)
    assert theirs.bos_token_id == tokenizer.bos
    assert theirs.eos_token_id == tokenizer.eos
    assert len(theirs) == tokenizer.vocab_size
    text = "The sea is wide in 1999. 海は広い。 def f(x):\n    return x"
    assert theirs(text, add_special_tokens=True)["input_ids"] == tokenizer.encode(text)
    ids = [tokenizer.bos, *tokenizer.encode(text), tokenizer.special["<tool_call>"], tokenizer.eos]
    assert theirs.decode(ids) == tokenizer.decode(ids)
    # what a server shows: turns vanish, calls stay for its parser
    assert theirs.decode(ids, skip_special_tokens=True) == text + "<tool_call>"
    theirs.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(text)["input_ids"] == tokenizer.encode(text)
    messages = [{"role": "user", "content": "hi"}]
    assert again.apply_chat_template(messages, tokenize=False) == "<|begin_of_text|><|User|>hi"


def test_digest_follows_what_decides_ids(trained: Path, tmp_path: Path) -> None:
    digest = load_tokenizer(trained).digest
    copy = tmp_path / "released"
    shutil.copytree(trained, copy)
    (copy / "contract.json").unlink()  # a released model has none
    assert load_tokenizer(copy).digest == digest
    template = copy / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    assert load_tokenizer(copy).digest != digest


def test_changed_folder_is_refused(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "changed"
    shutil.copytree(trained, copy)
    description = json.loads((copy / "tokenizer.json").read_text())
    description["model"]["merges"].pop()
    (copy / "tokenizer.json").write_text(json.dumps(description))
    with pytest.raises(BadInput, match="a file was changed"):
        load_tokenizer(copy)


def test_folders_that_are_no_tokenizer_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no tokenizer folder"):
        load_tokenizer(tmp_path)
    build(tmp_path)
    description = json.loads((tmp_path / "tokenizer.json").read_text())
    description["added_tokens"] = description["added_tokens"][:3]
    (tmp_path / "tokenizer.json").write_text(json.dumps(description))
    with pytest.raises(BadInput, match="lacks the special token"):
        load_tokenizer(tmp_path)


def test_equal_merges_give_equal_bytes(tmp_path: Path) -> None:
    merges = [(b"a", b"b"), (b"ab", b"\xff")]
    assert build(tmp_path / "a", merges, 16) == build(tmp_path / "b", merges, 16)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
