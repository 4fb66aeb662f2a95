"""Cleaning and rule filters, plain functions on Arrow record batches.

Each rule returns a boolean array, true where a document is kept; `apply_rules` runs them in order
and counts what each one dropped. A document is counted under the first rule it fails.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute

from components.corpus.config import Quality

pc: Any = pyarrow.compute  # its functions are made at import, unseen by type checkers

VISIBLE = "visible"
"""Column that rules find beside the corpus's own: characters that are no white space."""

Rule = Callable[[pa.RecordBatch, Quality], pa.BooleanArray]

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028\u2029\ufeff\ufffe\uffff]")
_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)
_GAPS = re.compile(r"\n{4,}")


def clean_text(text: str) -> str:
    """Return a text in NFC with plain line ends, without control characters and wide gaps."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x0c", "\n")
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = _GAPS.sub("\n\n\n", _TRAILING.sub("", _CONTROL.sub("", text)))
    return text.strip("\n").rstrip()


def long_enough(minimum: int) -> Rule:
    """Return the rule that drops documents of fewer than `minimum` characters."""

    def rule(batch: pa.RecordBatch, quality: Quality) -> pa.BooleanArray:
        return pc.greater_equal(pc.utf8_length(batch["text"]), minimum)

    return rule


def has_letters(batch: pa.RecordBatch, quality: Quality) -> pa.BooleanArray:
    """Keep documents in which enough of the visible characters are letters."""
    return pc.greater_equal(_share(batch, r"\pL"), quality.min_letter_share)


def few_digits(batch: pa.RecordBatch, quality: Quality) -> pa.BooleanArray:
    """Keep documents in which few of the visible characters are digits."""
    return pc.less_equal(_share(batch, r"\pN"), quality.max_digit_share)


def few_symbols(batch: pa.RecordBatch, quality: Quality) -> pa.BooleanArray:
    """Keep documents in which few of the visible characters are neither letter nor digit."""
    return pc.less_equal(_share(batch, r"[^\pL\pN\pM\s]"), quality.max_symbol_share)


def words_have_word_length(batch: pa.RecordBatch, quality: Quality) -> pa.BooleanArray:
    """Keep documents whose words are not too long on average; code is not judged."""
    words = _count(batch, r"\S+")
    mean = pc.divide(pc.cast(batch[VISIBLE], pa.float64()), pc.max_element_wise(words, 1))
    return pc.or_(pc.equal(batch["domain"], "code"), pc.less_equal(mean, quality.max_word_length))


def lines_are_new(batch: pa.RecordBatch, quality: Quality) -> pa.BooleanArray:
    """Keep documents that do not mostly repeat their own lines."""

    def repeated_share(text: str) -> float:
        seen: set[str] = set()
        repeated = 0
        for line in filter(None, map(str.strip, text.split("\n"))):
            repeated += len(line) if line in seen else 0
            seen.add(line)
        return repeated / max(len(text), 1)

    shares = [repeated_share(text) for text in batch["text"].to_pylist()]
    return pa.array([share <= quality.max_line_repeat_share for share in shares], pa.bool_())


RULES: dict[str, Rule] = {
    "few_letters": has_letters,
    "many_digits": few_digits,
    "many_symbols": few_symbols,
    "long_words": words_have_word_length,
    "repeated_lines": lines_are_new,
}
"""Rules by the reason under which the report counts what they drop."""


def apply_rules(
    batch: pa.RecordBatch, rules: dict[str, Rule], quality: Quality
) -> tuple[pa.RecordBatch, dict[str, tuple[int, int]]]:
    """Return the documents that pass all rules, and (documents, bytes) dropped by reason."""
    dropped: dict[str, tuple[int, int]] = {}
    batch = batch.append_column(VISIBLE, _count(batch, r"\S"))
    for reason, rule in rules.items():
        kept = rule(batch, quality)
        lost = batch.filter(pc.invert(kept))
        if lost.num_rows:
            dropped[reason] = (lost.num_rows, text_bytes(lost))
            batch = batch.filter(kept)
    return batch.drop_columns([VISIBLE]), dropped


def text_bytes(table: pa.RecordBatch | pa.Table) -> int:
    """Return the UTF-8 bytes of the column `text`."""
    return pc.sum(pc.binary_length(table["text"])).as_py() or 0


def _count(batch: pa.RecordBatch, pattern: str) -> pa.Array:
    return pc.count_substring_regex(batch["text"], pattern)


def _share(batch: pa.RecordBatch, pattern: str) -> pa.Array:
    visible = pc.max_element_wise(pc.cast(batch[VISIBLE], pa.float64()), 1.0)
    return pc.divide(pc.cast(_count(batch, pattern), pa.float64()), visible)
