"""Multiple-choice items come from held-out documents and have one right answer."""

from __future__ import annotations

from components.artifacts.types import Corpus, Tasks
from components.tasks.documents import read_documents
from components.tasks.multiple_choice import multiple_choice_items
from components.tasks.task import read_tasks


def test_items_have_four_different_choices_and_hide_the_answer(made: Tasks) -> None:
    items = list(read_tasks(made.benchmark("multiple_choice")))
    assert len(items) == 30
    for item in items:
        assert len(set(item["choices"])) == 4
        right = item["choices"][item["answer"]].strip()
        if item["form"] == "title":
            assert right.lower() not in item["prompt"].lower()


def test_items_are_held_out(corpus: Corpus) -> None:
    trained = {
        " ".join(document.text.split())
        for document in read_documents(corpus.documents("train", "stem"), "stem")
    }
    for item in multiple_choice_items(corpus, 0, 50):
        gloss = item["prompt"].rsplit("\n", 1)[0]
        assert not any(text.endswith(f": {gloss}") for text in trained)


def test_the_place_of_the_answer_is_spread(corpus: Corpus) -> None:
    places = [item["answer"] for item in multiple_choice_items(corpus, 0, 100)]
    assert set(places) == {0, 1, 2, 3}
