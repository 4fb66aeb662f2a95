"""A tokenizer with the interface of the real one and nothing to train: one id a byte."""

from __future__ import annotations

SPECIAL = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|User|>",
    "<|Assistant|>",
    "<|begin_of_tool_description|>",
    "<|end_of_tool_description|>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
)


class ByteTokenizer:
    """Encode UTF-8 bytes; special tokens come after them."""

    vocab_size = 256 + len(SPECIAL)
    special = {name: 256 + number for number, name in enumerate(SPECIAL)}  # noqa: RUF012
    bos = special["<|begin_of_text|>"]
    eos = special["<|end_of_text|>"]
    digest = "bytes"

    def encode(self, text: str) -> list[int]:
        """Never produce a special token, whatever the text spells."""
        return list(text.encode())

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    def decode(self, ids: list[int]) -> str:
        names = {number: name for name, number in self.special.items()}
        return "".join(names[i] if i in names else chr(i) for i in ids)
