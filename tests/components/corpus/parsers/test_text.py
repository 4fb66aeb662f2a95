import gzip
from pathlib import Path

from components.corpus.parsers.text import read, read_fortunes


def test_files_are_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"two"))
    found = read(tmp_path, [tmp_path / "a.txt", tmp_path / "b.txt.gz"], 0)
    assert sorted((document.title, document.text) for document in found) == [
        ("a", "one"),
        ("b", "two"),
    ]


def test_sayings_are_cut_apart(tmp_path: Path) -> None:
    (tmp_path / "wisdom").write_text("first\n  -- A\n%\nsec_\bond\n%\nfirst\n  -- A\n%\n\n")
    (tmp_path / "wisdom.dat").write_bytes(b"\0\1")
    paths = [tmp_path / "wisdom", tmp_path / "wisdom.dat"]
    assert sorted(document.text for document in read_fortunes(tmp_path, paths, 0)) == [
        "first\n  -- A",
        "second",
    ]
