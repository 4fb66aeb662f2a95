import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from components.contract import BadInput
from components.corpus.config import LocalFiles
from components.corpus.local_files import documents, revision

LINES = "".join(json.dumps({"text": f"text {n}", "title": f"t{n}"}) + "\n" for n in range(3))


def source(*paths: Path | str, **changes: object) -> LocalFiles:
    return LocalFiles(paths=tuple(map(str, paths)), domain="general", **changes)


def texts(given: LocalFiles) -> list[str]:
    return [document.text for document in documents(given, seed=0)]


def refused(given: LocalFiles) -> list[str]:
    with pytest.raises(BadInput) as caught:
        texts(given)
    lines = str(caught.value).splitlines()
    assert len(lines) <= 5
    return lines


def test_all_kinds_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("plain")
    (tmp_path / "b.md").write_text("# marked")
    (tmp_path / "c.jsonl").write_text(LINES)
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(LINES.encode()))
    packed = zstandard.ZstdCompressor().compress(LINES.encode())
    (tmp_path / "e.jsonl.zst").write_bytes(packed + packed)  # two frames
    (tmp_path / "f.txt.gz").write_bytes(gzip.compress(b"packed"))
    (tmp_path / "inner").mkdir()
    table = pa.table({"text": ["column"], "title": ["t"], "other": [1]})
    parquet.write_table(table, tmp_path / "inner" / "g.parquet")
    (tmp_path / "ignored.png").write_bytes(b"\x89")
    found = texts(source(tmp_path))
    three = ["text 0", "text 1", "text 2"]
    assert sorted(found) == sorted(["plain", "# marked", "packed", "column", *three * 4])


def test_globs_choose_files(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.md"):
        (tmp_path / name).write_text(name)
    assert sorted(texts(source(tmp_path / "*.txt"))) == ["a.txt", "b.txt"]


def test_titles_come_from_fields_and_file_names(tmp_path: Path) -> None:
    (tmp_path / "sea.txt").write_text("wide")
    (tmp_path / "c.jsonl").write_text('{"text": "x", "title": "y"}\n\n{"text": "z"}')
    found = {document.text: document.title for document in documents(source(tmp_path), 0)}
    assert found == {"wide": "sea", "x": "y", "z": ""}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": ', "line 2: no JSON"),
        ("[1]", "line 2: no JSON object"),
        ('{"content": "x"}', "line 2: no field 'text'; fields: content"),
        ('{"text": 5}', "line 2: field 'text' is int, text is needed"),
        ('{"text": null}', "line 2: field 'text' is NoneType"),
    ],
)
def test_bad_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "good"}\n' + line + "\n")
    first, fix = refused(source(path))
    assert str(path) in first
    assert said in first
    assert fix


def test_bytes_that_are_no_utf8_are_named_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\n\xff\n")
    assert "a.txt, line 3: byte 0xff is no UTF-8" in refused(source(tmp_path))[0]
    (tmp_path / "a.txt").write_text("good")
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "a"}\n{"text": "\xfe"}\n')
    assert "b.jsonl, line 2: byte 0xfe" in refused(source(tmp_path / "b.jsonl"))[0]


@pytest.mark.parametrize("damage", ["cut", "changed", "other"])
def test_damaged_gzip_is_named(tmp_path: Path, damage: str) -> None:
    packed = bytearray(gzip.compress((LINES * 50).encode()))
    if damage == "cut":
        packed = packed[: len(packed) // 2]
    elif damage == "changed":
        packed[len(packed) // 2] ^= 255
    else:
        packed = bytearray(b"no gzip at all")
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(packed)
    assert f"{path}: damaged gzip" in refused(source(path))[0]


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_damaged_zstd_is_named(tmp_path: Path, damage: str) -> None:
    packed = zstandard.ZstdCompressor().compress((LINES * 50).encode())
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(packed[:-6] if damage == "cut" else b"no zstd at all")
    assert f"{path}: damaged zstd" in refused(source(path))[0]


def test_damaged_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 no PAR1")
    assert f"{path}: damaged parquet" in refused(source(path))[0]
    parquet.write_table(pa.table({"body": ["x"]}), path)
    assert "no column 'text'; columns: body" in refused(source(path))[0]


def test_missing_and_empty_sources_are_named(tmp_path: Path) -> None:
    assert "no such file" in refused(source(tmp_path / "absent"))[0]
    assert "no such file" in refused(source(tmp_path / "*.txt"))[0]
    assert "the source is empty" in refused(source(tmp_path))[0]
    (tmp_path / "a.jsonl").write_text("\n")
    (tmp_path / "b.txt").write_text(" \n")
    assert "the source is empty" in refused(source(tmp_path))[0]


def test_one_very_long_line_is_read(tmp_path: Path) -> None:
    text = "sea " * 2_000_000
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text}))
    assert texts(source(tmp_path)) == [text]


def test_revision_is_content_and_not_place(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("same")
    first = revision(source(tmp_path / "one"), tmp_path / "cache-1.json")
    assert first == revision(source(tmp_path / "two"), tmp_path / "cache-2.json")
    (tmp_path / "one" / "a.txt").write_text("other")
    assert first != revision(source(tmp_path / "one"), tmp_path / "cache-1.json")
