"""The contract of a tokenizer: what a folder holds, how text becomes ids, and the digest of both.

Text is encoded by a vocabulary without special tokens, so that text which spells `<tool_call>`
becomes ordinary tokens: whoever writes a document or a tool's output cannot forge a turn. Special
tokens enter by id only, from the chat template.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Encoder

from components.contract import BadInput
from components.tokenizer.chat_template import CHAT_TEMPLATE
from components.tokenizer.pretokenize import pre_tokenizer
from components.tokenizer.special_tokens import BOS, EOS, SPECIAL_TOKENS, special_names

LONGEST_CONTEXT = 131_072
"""Tokens; the paper's (section 2.4)."""
HIDDEN_WHEN_SKIPPED = ("<|",)
"""Only these are skipped by `skip_special_tokens`: servers look for `<tool_call>` in the text."""


class TextTokenizer:
    """Encode text and decode ids; `special` maps every special token to its id."""

    def __init__(self, description: dict[str, Any], template: str) -> None:
        plain = {**description, "added_tokens": []}
        self._plain = Encoder.from_str(json.dumps(plain))
        self._full = Encoder.from_str(json.dumps(description))
        self.special: dict[str, int] = {
            token["content"]: token["id"] for token in description["added_tokens"]
        }
        self.vocab_size: int = self._full.get_vocab_size(with_added_tokens=True)
        self.bos = self.special[BOS]
        self.eos = self.special[EOS]
        self.digest = contract_digest(description, template)

    def encode(self, text: str) -> list[int]:
        """Return ids of ordinary tokens, whatever the text spells."""
        return self._plain.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode several texts at once, on all threads."""
        found = self._plain.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, special tokens spelled out; bytes that are no UTF-8 become
        U+FFFD.
        """
        return self._full.decode(list(ids), skip_special_tokens=False)


def load_tokenizer(path: Path) -> TextTokenizer:
    """Open a tokenizer folder, a released model's included.

    Raises BadInput where a file is missing, or where the folder is not what its `contract.json`
    promises.
    """
    try:
        description = json.loads((path / "tokenizer.json").read_text(encoding="utf-8"))
        template = (path / "chat_template.jinja").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is no tokenizer folder: {error}. Make it again.") from error
    spelled = {token["content"] for token in description.get("added_tokens", ())}
    if missing := [token for token in SPECIAL_TOKENS if token not in spelled]:
        raise BadInput(
            f"{path}/tokenizer.json lacks the special token {missing[0]}: it was not made by the"
            " tokenizer stage. Use a tokenizer of this project."
        )
    tokenizer = TextTokenizer(description, template)
    promised = path / "contract.json"
    if promised.is_file():
        digest = json.loads(promised.read_text(encoding="utf-8"))["digest"]
        if digest != tokenizer.digest:
            raise BadInput(
                f"{path}/contract.json promises {digest[:12]}, its files are"
                f" {tokenizer.digest[:12]}: a file was changed. Make the tokenizer again."
            )
    return tokenizer


def byte_letters() -> list[str]:
    """Return the letter that stands for each byte in a byte-level vocabulary.

    Printable bytes stand for themselves; the others take the letters from U+0100 on (Radford et
    al. 2019, section 2.2, and every byte-level tokenizer since).
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    letters: list[str] = []
    replaced = 0
    for byte in range(256):
        letters.append(chr(byte if byte in printable else 0x100 + replaced))
        replaced += byte not in printable
    return letters


def build(out: Path, merges: Sequence[tuple[bytes, bytes]] = (), slots: int | None = None) -> str:
    """Write the tokenizer's files for `merges`, in the order they were learned; return the digest.

    Ids are 256 bytes, the merges, then `slots` special tokens (by default only the template's).
    """
    description = _description(merges, special_names(slots or len(SPECIAL_TOKENS)))
    out.mkdir(parents=True, exist_ok=True)
    settings = {
        "bos_token": BOS,
        "clean_up_tokenization_spaces": False,
        "eos_token": EOS,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": LONGEST_CONTEXT,
        "pad_token": EOS,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    digest = contract_digest(description, CHAT_TEMPLATE)
    _write(out / "tokenizer.json", json.dumps(description, ensure_ascii=False, indent=1))
    _write(out / "tokenizer_config.json", json.dumps(settings, indent=2, sort_keys=True))
    (out / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    contract = {
        "digest": digest,
        "special": {token["content"]: token["id"] for token in description["added_tokens"]},
        "vocab_size": 256 + len(merges) + len(description["added_tokens"]),
    }
    _write(out / "contract.json", json.dumps(contract, indent=2))
    return digest


def contract_digest(description: dict[str, Any], template: str) -> str:
    """Return the SHA-256 of all that decides ids: vocabulary, merges, patterns, special tokens,
    template.
    """
    model = description["model"]
    parts = {
        "added_tokens": [[token["content"], token["id"]] for token in description["added_tokens"]],
        "merges": model["merges"],
        "pre_tokenizer": description["pre_tokenizer"],
        "template": template,
        "vocab": model["vocab"],
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _description(merges: Sequence[tuple[bytes, bytes]], special: Sequence[str]) -> dict[str, Any]:
    letters = byte_letters()

    def spell(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    vocab = {letters[byte]: byte for byte in range(256)}
    for first, second in merges:
        vocab[spell(first + second)] = len(vocab)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(name, len(vocab) + n) for n, name in enumerate(special)],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer(),
        "post_processor": None,
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": False,
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": [[spell(first), spell(second)] for first, second in merges],
        },
    }


def _added(name: str, number: int) -> dict[str, Any]:
    return {
        "id": number,
        "content": name,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": name.startswith(HIDDEN_WHEN_SKIPPED),
    }


def _write(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8")
