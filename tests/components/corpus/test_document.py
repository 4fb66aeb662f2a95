from hypothesis import given
from hypothesis import strategies as st

from components.corpus.document import Document, in_hash_order, split_long


@given(st.text(alphabet="ab \n", max_size=300), st.integers(5, 60))
def test_parts_lose_nothing_and_keep_the_limit(text: str, most: int) -> None:
    parts = list(split_long(Document(text, "t"), most))
    assert "".join(part.text for part in parts) == text
    assert all(len(part.text) <= most and part.title == "t" for part in parts)


def test_cut_falls_on_a_paragraph_before_a_line() -> None:
    text = "a" * 60 + "\n\n" + "b" * 20 + "\n" + "c" * 60
    first, _ = split_long(Document(text), 100)
    assert first.text == "a" * 60 + "\n"


def test_order_depends_on_seed_and_names_alone() -> None:
    names = [str(n) for n in range(50)]
    one = in_hash_order(names, str, 1)
    assert one == in_hash_order(reversed(names), str, 1)
    assert one != in_hash_order(names, str, 2)
    assert [n for n in one if n != "7"] == in_hash_order((n for n in names if n != "7"), str, 1)
