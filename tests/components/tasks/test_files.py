"""The working directory: real text, counted as `wc` counts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from components.artifacts.types import Corpus
from components.tasks.files import FLAGS, FileSettings, file_tasks, write_files


def test_counts_agree_with_wc(corpus: Corpus, tmp_path: Path) -> None:
    files = write_files(corpus, tmp_path / "files", FileSettings(0, "keys", 3, 60, 2000))
    assert len(files) == 60
    for file in list(files.values())[:20]:
        path = tmp_path / "files" / file.name
        for measure, flag in FLAGS.items():
            said = subprocess.run(
                ["wc", flag, str(path)], capture_output=True, text=True, check=True, env={}
            )
            assert int(said.stdout.split()[0]) == file.counts[measure]


def test_files_have_the_configured_size_and_a_key_for_a_name(
    corpus: Corpus, tmp_path: Path
) -> None:
    files = write_files(corpus, tmp_path / "files", FileSettings(0, "keys", 2, 40, 500))
    assert all(len(stem) == 2 and stem.isdigit() for stem in files)
    assert max(path.stat().st_size for path in (tmp_path / "files").iterdir()) <= 501


def test_words_name_files_by_words(corpus: Corpus, tmp_path: Path) -> None:
    files = write_files(corpus, tmp_path / "files", FileSettings(0, "words", 3, 30, 500))
    assert all(file.source == f"name:{stem}" for stem, file in files.items())


def test_repair_leaves_the_extension_out(corpus: Corpus, tmp_path: Path) -> None:
    files = write_files(corpus, tmp_path / "files", FileSettings(0, "keys", 3, 60, 500))
    tasks = list(file_tasks("repair", "midtrain", 0, files))
    assert tasks
    for task in tasks:
        asked = task.world["asked"]
        assert "." not in asked
        assert task.question.endswith(f" {asked}?")
        assert task.steps[0].arguments["c"].endswith(f" {asked}")
        assert task.steps[1].arguments["c"].startswith(task.steps[0].arguments["c"] + ".")
