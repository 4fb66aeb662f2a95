"""Directories of sessions: numbered, claimed, and removed when nobody claims them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from components.contract import EnvironmentMissing
from components.sandbox.staging import Staged, remove_tree


def test_the_lowest_free_number_is_taken(files: Path, temporary: Path) -> None:
    first, second = Staged(files), Staged(files)
    assert [first.path.name, second.path.name] == ["strata-sandbox-0", "strata-sandbox-1"]
    assert (second.files / "901.csv").read_text(encoding="utf-8") == "a b\nc\n"
    first.remove()
    first.remove()
    again = Staged(files)
    assert again.path == first.path
    for staged in (again, second):
        staged.remove()
    assert list(temporary.iterdir()) == []


def test_what_is_in_the_way_stays(files: Path, temporary: Path) -> None:
    (temporary / "strata-sandbox-0").write_text("a file", encoding="utf-8")
    (temporary / "strata-sandbox-1").symlink_to(files)
    left = temporary / "strata-sandbox-2"
    (left / "files").mkdir(parents=True)
    staged = Staged(files)
    assert staged.path == left, "nobody claimed it"
    staged.remove()
    assert (files / "901.csv").exists()
    assert sorted(path.name for path in temporary.iterdir()) == [
        "strata-sandbox-0",
        "strata-sandbox-1",
    ]


def test_a_tree_of_any_depth_and_modes_is_removed(tmp_path: Path) -> None:
    here = Path.cwd()
    tree = tmp_path / "tree"
    (tree / "closed").mkdir(parents=True)
    (tree / "closed" / "file").touch()
    (tree / "closed").chmod(0)
    (tree / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    os.chdir(tree)
    for _ in range(3000):
        os.mkdir("d")  # noqa: PTH102 a path of this length is refused
        os.chdir("d")
    os.chdir(here)
    remove_tree(tree)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_without_a_place_to_write_the_fix_is_named(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(EnvironmentMissing, match="Set TMPDIR"):
        Staged(files)
