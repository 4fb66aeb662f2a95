import random
from pathlib import Path

import pyarrow as pa
import pytest

from components.corpus.config import NearDuplicates
from components.corpus.deduplicate import (
    connected,
    exact_duplicates,
    exact_key,
    jaccard,
    near_duplicates,
    shingle_set,
)

DRAW = random.Random(5)
WORDS = [f"w{n}" for n in range(3000)]


def text(length: int = 120) -> str:
    return " ".join(DRAW.choices(WORDS, k=length))


def edited(given: str, share: float) -> str:
    words = given.split()
    for at in DRAW.sample(range(len(words)), round(share * len(words))):
        words[at] = "other"
    return " ".join(words)


def drop(texts: list[str], scratch: Path, **changes: object) -> list[int]:
    return near_duplicates(
        pa.chunked_array([texts], pa.string()), NearDuplicates(**changes), scratch
    )


def test_exact_key_ignores_case_punctuation_and_spacing() -> None:
    assert exact_key("The  Sea, is wide!") == exact_key("the sea is\nwide")
    assert exact_key("the sea is wide") != exact_key("the sea was wide")
    assert exact_key("---") != exact_key("+++")
    assert exact_duplicates(["a", "b", "a", "c", "b", "a"]) == [2, 4, 5]


def test_first_of_near_duplicates_stays(tmp_path: Path) -> None:
    texts = [text() for _ in range(30)]
    texts += [edited(texts[3], 0.01), edited(texts[7], 0.02), texts[9].upper() + "."]
    assert drop(texts, tmp_path) == [30, 31, 32]
    assert not list(tmp_path.iterdir())


def test_less_similar_documents_stay(tmp_path: Path) -> None:
    texts = [text() for _ in range(20)]
    texts += [edited(each, 0.15) for each in texts]
    assert jaccard(shingle_set(texts[0], 5), shingle_set(texts[20], 5)) < 0.5
    assert drop(texts, tmp_path) == []


def test_shared_header_does_not_chain_documents(tmp_path: Path) -> None:
    header = text(60)
    texts = [header + " " + text(60) for _ in range(60)]
    assert drop(texts, tmp_path) == []


def test_recall_is_what_the_configuration_says(tmp_path: Path) -> None:
    """At Jaccard s, 20 bands of 5 rows meet with probability 1 - (1 - s^5)^20."""
    originals = [text(200) for _ in range(150)]
    texts = originals + [edited(each, 0.02) for each in originals]
    pairs = [
        (shingle_set(a, 5), shingle_set(b, 5)) for a, b in zip(originals, texts[150:], strict=True)
    ]
    wanted = sum(jaccard(a, b) >= 0.7 for a, b in pairs)
    assert wanted > 130
    assert len(drop(texts, tmp_path)) >= 0.95 * wanted


def test_short_and_empty_texts_are_no_trouble(tmp_path: Path) -> None:
    assert drop(["a b", "c d", "", "a b c d e f g h"], tmp_path) == []
    assert drop([], tmp_path) == []


def test_result_does_not_depend_on_the_order_of_buckets(tmp_path: Path) -> None:
    texts = [text() for _ in range(10)]
    texts += [edited(texts[n % 10], 0.01) for n in range(30)]
    assert drop(texts, tmp_path) == drop(texts, tmp_path) == list(range(10, 40))


def test_union_find_joins_chains() -> None:
    assert connected([(5, 3), (3, 1), (8, 9)]) == {1: 1, 3: 1, 5: 1, 8: 8, 9: 8}


@pytest.mark.parametrize(("a", "b", "expected"), [("abc", "abc", 1.0), ("ab", "cd", 0.0)])
def test_jaccard(a: str, b: str, expected: float) -> None:
    assert jaccard(frozenset(a), frozenset(b)) == expected
    assert jaccard(frozenset("abc"), frozenset("bcd")) == 0.5
