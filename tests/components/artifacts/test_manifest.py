from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from components.artifacts.manifest import content_digest, file_sha256, list_files


def test_files_are_listed_by_path_with_size_and_hash(tmp_path: Path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.txt").write_bytes(b"two")
    (tmp_path / "a.txt").write_bytes(b"one")
    files = list_files(tmp_path)
    assert [(file.path, file.bytes) for file in files] == [("a.txt", 3), ("b/c.txt", 3)]
    assert files[0].sha256 == hashlib.sha256(b"one").hexdigest() == file_sha256(tmp_path / "a.txt")


def test_the_digest_knows_names_and_bytes_and_nothing_else(tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    for directory in (first, second):
        directory.mkdir()
        (directory / "x").write_text("same")
    assert content_digest(list_files(first)) == content_digest(list_files(second))
    (second / "x").rename(second / "y")
    assert content_digest(list_files(first)) != content_digest(list_files(second))


def test_links_are_refused(tmp_path: Path):
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(ValueError, match="symbolic link"):
        list_files(tmp_path)
