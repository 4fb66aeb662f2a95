import time

from components.shards.decontaminate import needles, words

LONG = "one two three four five six seven eight nine ten"


def found(question: str, text: str, ngram: int = 8, shortest: int = 3) -> bool:
    return needles([("q", question)], ngram=ngram, shortest=shortest).find(text) is not None


def test_eight_words_in_a_row_are_enough() -> None:
    assert found(LONG, "so two three four five six seven eight nine it goes")
    assert not found(LONG, "so two three four five six seven eight it goes")
    assert not found(LONG, "two three four five x six seven eight nine ten")


def test_shorter_question_is_searched_as_a_whole() -> None:
    assert found("What is 823 * 46?", "say WHAT IS 823 (46) now")
    assert not found("What is 823 * 46?", "what is 823 and 46")
    assert not found("What is 823 * 46?", "what is 823 * 465")


def test_very_short_questions_are_ignored() -> None:
    prepared = needles([("a", "Why?"), ("b", "")], ngram=8, shortest=3)
    assert prepared.ignored == 2
    assert prepared.find("why why why") is None


def test_the_question_is_named() -> None:
    prepared = needles([("a", LONG), ("b", "red green blue")], ngram=8, shortest=3)
    assert prepared.find("x Red, green; blue y") == ("b", "red green blue")


def test_words() -> None:
    assert words("Don't_stop: É 12.5") == ["don", "t", "stop", "é", "12", "5"]


def test_speed_is_fine() -> None:
    prepared = needles([(str(n), f"what is {n} * 46?") for n in range(2000)], ngram=8, shortest=3)
    text = "the sea is wide and what is there " * 30_000  # a megabyte
    started = time.process_time()
    assert prepared.find(text) is None
    assert time.process_time() - started < 3
