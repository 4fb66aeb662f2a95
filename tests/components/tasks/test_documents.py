"""Documents are chosen by hash and read in bounded memory."""

from __future__ import annotations

from components.artifacts.types import Corpus
from components.tasks.documents import choose_documents, read_documents


def test_a_smaller_choice_is_the_beginning_of_a_larger_one(corpus: Corpus) -> None:
    few = choose_documents(corpus, "train", 10, 0, lambda document: True)
    many = choose_documents(corpus, "train", 40, 0, lambda document: True)
    assert few == many[:10]
    assert few != choose_documents(corpus, "train", 10, 1, lambda document: True)


def test_keep_decides(corpus: Corpus) -> None:
    found = choose_documents(corpus, "train", 1000, 0, lambda document: document.kind == "module")
    assert found
    assert {document.kind for document in found} == {"module"}


def test_rows_come_back_whole(corpus: Corpus) -> None:
    for document in read_documents(corpus.documents("train", "stem"), "stem"):
        assert document.text.startswith(document.title)
        assert document.domain == "stem"
