"""The pre-tokenizer: the paper's two patterns, one after the other (section 2.2).

The first cuts runs of Chinese, Japanese and Korean characters and their punctuation away from
everything else; the second is the GPT-4o pattern with single digits. BPE merges never cross a cut,
so no token holds two digits, and none mixes Chinese with other text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

CJK = "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+"

_CONTRACTION = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
WORDS = "|".join(
    (
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTION}",
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTION}",
        r"\p{N}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)

_CJK = re.compile(CJK)


def split_cjk(text: str) -> Iterator[str]:
    """Yield the pieces of `text` that the first pattern leaves, in order and without loss.

    The trainer takes one pattern only; with the first cut made here, the second alone gives the
    same pieces as both in sequence.
    """
    end = 0
    for match in _CJK.finditer(text):
        if match.start() > end:
            yield text[end : match.start()]
        yield match.group()
        end = match.end()
    if end < len(text):
        yield text[end:]


def pre_tokenizer() -> dict[str, Any]:
    """Return the pre-tokenizer as `tokenizer.json` spells it; the text is not given a space in
    front.
    """
    splits = [
        {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
        for regex in (CJK, WORDS)
    ]
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    return {"type": "Sequence", "pretokenizers": [*splits, byte_level]}
