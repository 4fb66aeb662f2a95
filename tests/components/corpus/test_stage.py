import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pyarrow import parquet

from components.contract import BadInput, StageContext, Stopped
from components.corpus.config import CorpusConfig, CorpusInputs, LocalFiles, PythonPackage
from components.corpus.sources import revisions
from components.corpus.stage import run

Make = Callable[..., StageContext]


def files(*paths: Path, **changes: object) -> CorpusConfig:
    source = LocalFiles(paths=tuple(map(str, paths)), domain="general", **changes)
    return CorpusConfig(sources=(source,), heldout_share=0.2)


def digest(out: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(out.rglob("*")):
        if path.is_file():
            whole.update(path.relative_to(out).as_posix().encode() + path.read_bytes())
    return whole.hexdigest()


def rows(context: StageContext, split: str, domain: str = "general") -> list[dict]:
    return parquet.read_table(context.out / split / f"{domain}.parquet").to_pylist()


def test_every_document_is_kept_once_and_sorted(folder: Path, make_context: Make) -> None:
    context = make_context()
    facts = run(files(folder), CorpusInputs(), context)
    train, heldout = rows(context, "train"), rows(context, "heldout")
    assert len(train) + len(heldout) == 40
    assert facts.documents["general"] == len(train)
    assert 0 < len(heldout) < 20
    assert not {row["id"] for row in train} & {row["id"] for row in heldout}
    for some in (train, heldout):
        assert [row["id"] for row in some] == sorted(row["id"] for row in some)
    row = train[0]
    assert row["id"] == hashlib.sha256(row["text"].encode()).hexdigest()[:16]
    assert row["source"] == "files:files"
    assert row["title"].startswith("number ")
    assert parquet.read_table(context.out / "train/stem.parquet").num_rows == 0


def test_equal_input_gives_equal_bytes_wherever_it_lies(folder: Path, make_context: Make) -> None:
    first = make_context("a")
    run(files(folder), CorpusInputs(), first)
    moved = folder.rename(folder.with_name("elsewhere"))
    second = make_context("b")
    run(files(moved), CorpusInputs(), second)
    assert digest(first.out) == digest(second.out)


def test_duplicates_do_not_straddle_the_split(folder: Path, make_context: Make) -> None:
    lines = (folder / "prose.jsonl").read_text().splitlines()
    twins = []
    for line in lines:
        text = json.loads(line)["text"]
        twins += [{"text": text.upper() + " !"}, {"text": text + " And one new ending here."}]
    (folder / "twins.jsonl").write_text("\n".join(map(json.dumps, twins)))
    context = make_context()
    facts = run(files(folder), CorpusInputs(), context)
    assert sum(facts.documents.values()) + sum(facts.heldout_documents.values()) == 40
    assert facts.dropped == {"duplicate": 40, "near_duplicate": 40}


def test_report_accounts_for_every_document(folder: Path, make_context: Make) -> None:
    bad = ["tiny", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21", "=" * 80, "z" * 90]
    bad.append("the same line again and again\n" * 9)
    (folder / "bad.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in bad))
    context = make_context()
    run(files(folder), CorpusInputs(), context)
    report = json.loads((context.out / "report.json").read_text())
    (source,) = report["sources"]
    assert source["read"]["documents"] == 45
    reasons = {reason: each["documents"] for reason, each in source["dropped"].items()}
    assert reasons == {"short": 1, "few_letters": 2, "long_words": 1, "repeated_lines": 1}
    lost = sum(each["bytes"] for each in source["dropped"].values())
    assert source["read"]["bytes"] == source["kept"]["bytes"] + lost


def test_limit_of_bytes_holds(folder: Path, make_context: Make) -> None:
    context = make_context()
    facts = run(files(folder, max_bytes=3000), CorpusInputs(), context)
    kept = facts.bytes["general"] + sum(len(row["text"]) for row in rows(context, "heldout"))
    assert 2000 < kept <= 3000


def test_long_documents_are_split(tmp_path: Path, make_context: Make) -> None:
    text = "\n\n".join(f"Paragraph {n} tells of one more harbour by the sea." for n in "abcdefgh")
    (tmp_path / "long.txt").write_text(text)
    context = make_context()
    run(files(tmp_path / "long.txt", max_characters=200), CorpusInputs(), context)
    found = [*rows(context, "train"), *rows(context, "heldout")]
    assert len(found) > 1
    assert all(len(row["text"]) <= 200 for row in found)
    assert {row["title"] for row in found} == {"long"}


def test_source_that_changed_since_the_plan_is_refused(folder: Path, make_context: Make) -> None:
    config = files(folder)
    planned = revisions(config)
    with (folder / "prose.jsonl").open("a") as file:
        file.write('{"text": "one more"}\n')
    with pytest.raises(BadInput, match="is not the planned one"):
        run(config, CorpusInputs(), make_context(revisions=planned))


def test_everything_dropped_is_an_error_that_names_the_reasons(
    tmp_path: Path, make_context: Make
) -> None:
    (tmp_path / "a.txt").write_text("tiny")
    with pytest.raises(BadInput, match="short"):
        run(files(tmp_path / "a.txt"), CorpusInputs(), make_context())


def test_stop_is_heeded(folder: Path, make_context: Make) -> None:
    with pytest.raises(Stopped):
        run(files(folder), CorpusInputs(), make_context(stop_requested=lambda: True))


def test_standard_library_is_a_source_of_code(make_context: Make) -> None:
    source = PythonPackage(name="stdlib", domain="code", max_bytes=60_000, max_characters=5000)
    context = make_context()
    run(CorpusConfig(sources=(source,)), CorpusInputs(), context)
    found = rows(context, "train", "code")
    assert len(found) >= 10
    assert sum("def " in row["text"] for row in found) > len(found) / 3
    assert rows(context, "heldout", "code")
