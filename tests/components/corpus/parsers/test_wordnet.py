from pathlib import Path

from components.corpus.document import Document
from components.corpus.parsers.wordnet import CLASSES, read

# The format of wndb(5WN), with entries of our own.
DATA = """\
  1 This is a licence line.
00000100 03 n 01 entity 0 001 ~ 00000200 n 0000 | that which is
00000200 05 n 02 sea_bird 0 gull 0 002 @ 00000100 n 0000 ~ 00000300 n 0000 | a bird of the coast; \
"gulls follow ships"; "the gull cried"
00000300 05 n 01 Jonathan 0 002 @i 00000200 n 0000 + 00000999 v 0101 | a gull in a story
"""


def entries(tmp_path: Path, seed: int = 0) -> dict[str, Document]:
    path = tmp_path / "data.noun"
    path.write_text(DATA)
    return {document.title: document for document in read(tmp_path, [path], seed)}


def test_entry_has_class_text_and_what_it_is_a_kind_of(tmp_path: Path) -> None:
    bird = entries(tmp_path)["sea bird"]
    assert bird.kind == "animal"
    assert bird.references == ("entity",)
    assert bird.text == (
        "Sea bird: a bird of the coast. Also called gull. A kind of entity. "
        'For example: "gulls follow ships" "the gull cried".'
    )


def test_instances_refer_to_their_class_and_the_top_has_none(tmp_path: Path) -> None:
    found = entries(tmp_path)
    assert found["Jonathan"].references == ("sea bird",)
    assert found["entity"].kind == ""
    assert len(found) == 3
    assert len(CLASSES) == 25


def test_every_entry_comes_once_with_its_reference_near(tmp_path: Path) -> None:
    for seed in range(5):
        titles = list(entries(tmp_path, seed))
        assert sorted(titles) == ["Jonathan", "entity", "sea bird"]
        assert (
            abs(titles.index("Jonathan") - titles.index("sea bird")) == 1 or titles[2] == "Jonathan"
        )
