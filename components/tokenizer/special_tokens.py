"""The special tokens of the chat template (paper section 2.4), each one id.

Their ids follow the ordinary ones, at the end of the vocabulary, as in the paper's 128,000 + 256.
Whether the paper's `<think>`, `<tool_call>` and `<tool_response>` are single ids is not known; one
id each is our choice: a call then costs two tokens, and text can never imitate it.
"""

from __future__ import annotations

BOS = "<|begin_of_text|>"
EOS = "<|end_of_text|>"
USER = "<|User|>"
ASSISTANT = "<|Assistant|>"
BEGIN_TOOLS = "<|begin_of_tool_description|>"
END_TOOLS = "<|end_of_tool_description|>"
THINK, END_THINK = "<think>", "</think>"
CALL, END_CALL = "<tool_call>", "</tool_call>"
RESPONSE, END_RESPONSE = "<tool_response>", "</tool_response>"

SPECIAL_TOKENS = (
    BOS,
    EOS,
    USER,
    ASSISTANT,
    BEGIN_TOOLS,
    END_TOOLS,
    THINK,
    END_THINK,
    CALL,
    END_CALL,
    RESPONSE,
    END_RESPONSE,
)
"""In the order of their ids."""

LARGE_VOCABULARY = 32_768
"""From this size on the paper's 256 slots are kept; a toy vocabulary has 16 (ours)."""


def special_slots(vocab_size: int) -> int:
    """Return how many ids at the end of the vocabulary are kept for special tokens."""
    return 256 if vocab_size >= LARGE_VOCABULARY else 16


def special_names(slots: int) -> tuple[str, ...]:
    """Return the names of `slots` special ids: the template's, then reserved ones."""
    assert slots >= len(SPECIAL_TOKENS), "fewer slots than special tokens"
    reserved = range(slots - len(SPECIAL_TOKENS))
    return (*SPECIAL_TOKENS, *(f"<|reserved_{number}|>" for number in reserved))
