import pyarrow as pa
import pytest

from components.corpus.config import Quality
from components.corpus.filters import RULES, apply_rules, clean_text, long_enough, text_bytes

CODE = "def area(r):\n    return 3.14 * r**2  # of a circle\n" * 2


def judge(text: str, domain: str = "general") -> str | None:
    batch = pa.RecordBatch.from_pydict({"text": [text], "domain": [domain]})
    kept, dropped = apply_rules(batch, {"short": long_enough(10), **RULES}, Quality())
    assert kept.schema == batch.schema
    assert kept.num_rows == (0 if dropped else 1)
    return next(iter(dropped), None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The sea is wide, and the wind is cold.", None),
        ("Größe, naïve café: 日本語のテキストもある。", None),
        ("too short", "short"),
        ("--- === *** ### ... !!! ???", "few_letters"),
        ("year 1914 1915 1916 1917 ends", "few_letters"),
        ("in years 1914 1915 1916 they were", "many_digits"),
        ("words with some -- ~~ && ## ** <> !! text", "many_symbols"),
        ("https" + "x" * 40 + " " + "y" * 30, "long_words"),
        ("the very same line\n" * 5, "repeated_lines"),
    ],
)
def test_rules(text: str, reason: str | None) -> None:
    assert judge(text) == reason


def test_code_passes_although_its_words_are_long() -> None:
    assert judge("value=compute_the_long_thing(argument_number_one)", "code") is None
    assert judge("value=compute_the_long_thing(argument_number_one)") == "long_words"
    assert judge(CODE.replace("def", "def other"), "code") is None


def test_dropped_are_counted_once_with_their_bytes() -> None:
    texts = ["good words stand here", "é", "==================", "more good words here"]
    batch = pa.RecordBatch.from_pydict({"text": texts, "domain": ["general"] * 4})
    kept, dropped = apply_rules(batch, {"short": long_enough(10), **RULES}, Quality())
    assert dropped == {"short": (1, 2), "few_letters": (1, 18)}
    assert text_bytes(kept) == len(texts[0]) + len(texts[3])


def test_cleaning() -> None:
    assert clean_text("a\r\nb\rc  \n") == "a\nb\nc"
    assert clean_text("e\u0301\x00\ufeff") == "é"
    assert clean_text("a\n\n\n\n\n\nb") == "a\n\n\nb"
    assert clean_text("\n\n    indented\n") == "    indented"


def test_empty_batch_passes() -> None:
    batch = pa.RecordBatch.from_pydict(
        {"text": pa.array([], pa.string()), "domain": pa.array([], pa.string())}
    )
    kept, dropped = apply_rules(batch, RULES, Quality())
    assert (kept.num_rows, dropped, text_bytes(kept)) == (0, {}, 0)
