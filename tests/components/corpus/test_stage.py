from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.artifacts.manifest import content_digest, list_files
from components.contract import BadInput, Resources, StageContext
from components.corpus.config import CorpusConfig, CorpusInputs, LocalFiles
from components.corpus.sources import revisions
from components.corpus.stage import run
from components.tracking.journal import Journal

WORDS = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "omicron",
    "pi",
]


def make(source: Path, work: Path) -> tuple[Path, object]:
    config = CorpusConfig(
        sources=(LocalFiles(domain="general", paths=(str(source),)),), heldout_share=0.3
    )
    out = work / "out"
    out.mkdir(parents=True)
    context = StageContext(
        out=out,
        resume=work / "resume",
        earlier_resumes=(),
        scratch=work / "scratch",
        journal=Journal(work / "journal"),
        resources=Resources(),
        step="corpus",
        revisions=revisions(config),
    )
    return out, run(config, CorpusInputs(), context)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "texts"
    directory.mkdir()
    for number in range(30):
        turned = WORDS[number % 16 :] + WORDS[: number % 16]
        text = " ".join(f"{word} {turned[-at]}" for at, word in enumerate(turned))
        (directory / f"{number:02d}.txt").write_text(f"Story {WORDS[number % 16]}: {text}.\n")
    return directory


def test_duplicates_go_and_equal_sources_give_equal_bytes(source: Path, tmp_path: Path):
    out, facts = make(source, tmp_path / "first")
    again, _ = make(source, tmp_path / "second")
    assert content_digest(list_files(out)) == content_digest(list_files(again))
    train = pq.read_table(out / "train" / "general.parquet").to_pylist()
    heldout = pq.read_table(out / "heldout" / "general.parquet").to_pylist()
    ids = [row["id"] for row in train]
    assert ids == sorted(ids)
    assert not set(ids) & {row["id"] for row in heldout}
    assert len(train) + len(heldout) <= 16, "30 files hold 16 different texts"
    assert sum(facts.dropped.values()) >= 14


def test_a_changed_file_changes_the_revision_and_its_place_does_not(source: Path, tmp_path: Path):
    def revision(path: Path) -> dict[str, str]:
        named = LocalFiles(domain="general", paths=(str(path),))
        return revisions(CorpusConfig(sources=(named,)))

    before = revision(source)
    moved = source.rename(tmp_path / "moved")
    assert revision(moved) == before
    (moved / "00.txt").write_text("Something else entirely stands in this file now, all of it new.")
    assert revision(moved) != before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bad.jsonl", b'{"text": 3}\n'),
        ("bad.jsonl", b"not json\n"),
        ("bad.txt.gz", b"\x1f\x8bjunk"),
    ],
)
def test_bad_input_names_the_file(tmp_path: Path, name: str, content: bytes):
    directory = tmp_path / "texts"
    directory.mkdir()
    (directory / name).write_bytes(content)
    with pytest.raises(BadInput, match="bad") as caught:
        make(directory, tmp_path / "work")
    assert len(str(caught.value).splitlines()) <= 5
