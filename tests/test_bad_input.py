"""What a user, a disk or a machine can get wrong, through whole runs: one clear error, the right
exit code, nothing half-written, and the same command goes on once the cause is gone.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.artifacts.store import open_store
from components.settings import Settings
from flows.attempts import StepFailed
from flows.cli import main
from flows.jobs import job_of
from flows.recipe import resolve
from flows.run import carry_out, directly, make_plan
from flows.runs import find_run
from tests.sample_pipeline import job, unwatched

ROOT = Path(__file__).parents[1]
TEXT = "The quick brown fox jumps over the lazy dog, and then it rests under a tree for a while. "


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def overlay(directory: Path, source: dict[str, object]) -> Path:
    path = directory / "overlay.json"
    path.write_text(json.dumps({"corpus": {"sources": [{"domain": "general", **source}]}}))
    return path


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("a.toml", b"[agent\nx=1", 2, "line 1"),
        ("a.yaml", b"agent: [1, 2\nb: }", 2, "line 1"),
        ("a.json", b'{"agent": }', 2, "line 1"),
        ("a.json", b"[1]", 2, "expected a table of steps"),
        ("a.txt", b"x", 2, "use .toml, .yaml or .json"),
        ("a.toml", b"\xff\xfe", 2, "no UTF-8"),
        ("a.toml", b"agent = 5", 2, "such as agent.steps"),
        ("a.toml", b"[agent]\nlearning_rat = 1", 2, "Did you mean agent.learning_rate?"),
        ("a.toml", b"[[corpus.sources]]\ntype='files'\npaths=['x']", 2, "sources.0.domain"),
        (
            "a.toml",
            b"[[corpus.sources]]\ntype='files'\ndomain='code'\npath=['x']",
            2,
            "corpus.sources.0.path = ['x'] (from a.toml): unknown key 'path'. Did you mean paths?",
        ),
        ("a.toml", b"[corpus]\nsources = []", 2, "sources is empty"),
    ],
)
def test_an_overlay(name, content, code, words, home, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    refused(["plan", "ci", "--file", name], code, words, capsys)
    assert not home.exists()


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ({"type": "files", "paths": ["none"]}, 2, "none: no such file or directory"),
        ({"type": "files", "paths": ["*.txt"]}, 2, "*.txt: no such file or directory"),
        ({"type": "files", "paths": ["empty"]}, 2, "empty: the source is empty"),
        ({"type": "files", "paths": ["broken"]}, 2, "a link to /nowhere"),
        ({"type": "files", "paths": ["/proc/self/mem"]}, 2, "/proc/self/mem: Input/output error"),
        ({"type": "python", "name": "no-such-package"}, 3, "pip install no-such-package"),
    ],
)
def test_a_source(source, code, words, home, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.txt").symlink_to("/nowhere")
    path = overlay(tmp_path, source)
    refused(["plan", "ci", "--until", "corpus", "--file", str(path)], code, words, capsys)
    assert not (home / "store").exists()


def refused(arguments: list[str], code: int, words: str, capsys) -> None:
    assert main(arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert len(printed.err.splitlines()) <= 8
    assert "Traceback" not in printed.err


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"", "the source is empty"),
        ("a.txt.gz", gzip.compress(TEXT.encode() * 50)[:60], "a.txt.gz: damaged gzip"),
        ("a.txt.zst", b"\x28\xb5\x2f\xfdrubbish", "a.txt.zst: damaged zstd"),
        ("a.parquet", b"PAR1rubbishPAR1", "a.parquet: damaged parquet"),
        ("a.jsonl", b'{"text": "x"}\n{"text": oh}\n', "a.jsonl, line 2: no JSON"),
        ("a.txt", "one\nGrüße".encode("latin-1"), "a.txt, line 2: byte 0xfc is no UTF-8"),
    ],
)
def test_a_damaged_file_ends_the_run_and_a_repaired_one_lets_it_go_on(
    name, content, words, home, tmp_path
):
    data = tmp_path / "data"
    data.mkdir()
    (data / name).write_bytes(content)
    path = overlay(tmp_path, {"type": "files", "paths": [str(data)]})
    with pytest.raises(StepFailed) as failed:
        make_corpus(home, path)
    assert failed.value.exit_code == 2
    assert words in str(failed.value)
    assert len(str(failed.value).splitlines()) <= 8
    store = open_store(Settings(home=home))
    assert find_run(store).state == "failed"
    assert list(store.manifests()) == []
    (data / name).unlink()
    (data / "b.txt").write_text(TEXT)
    outcome = make_corpus(home, path)
    assert outcome.executed == ("corpus",)
    assert outcome.record.id == find_run(store).id


def make_corpus(home, path):
    settings = Settings(home=home, launcher="in_process")
    asked = job_of(resolve("ci", file=path), until="corpus")
    plan = make_plan(asked, open_store(settings))
    return carry_out(asked, settings, plan, engine=directly, watcher=unwatched)


def count(home):
    settings = Settings(home=home)
    plan = make_plan(job(), open_store(settings))
    return plan, carry_out(job(), settings, plan, engine=directly, watcher=unwatched)


def test_a_damaged_manifest_is_set_aside_and_its_artifact_made_again(home, capsys):
    _, outcome = count(home)
    store = open_store(Settings(home=home))
    key = outcome.record.steps["second"].key
    store.objects.write(f"artifacts/count/{key}/manifest.json", b'{"format": 1, "sta')
    assert main(["artifact", "verify"]) == 1
    assert "manifest is unreadable" in capsys.readouterr().err
    plan, again = count(home)
    assert plan.steps["second"].reasons == ("damaged: its manifest is unreadable",)
    assert again.executed == ("second",)
    assert main(["artifact", "verify"]) == 0


def test_a_damaged_run_record_is_named(home, capsys):
    _, outcome = count(home)
    store = open_store(Settings(home=home))
    store.objects.write(f"runs/{outcome.record.id}/run.json", b'{"format": 1,')
    refused(["status"], 2, f"{outcome.record.id}/run.json", capsys)
    refused(["status", outcome.record.id], 2, "Move it aside", capsys)
    assert count(home)[1].executed == ()


def test_a_damaged_catalog_does_not_stop_a_run(home, capsys):
    home.mkdir()
    (home / "catalog.db").write_bytes(b"no database" * 500)
    assert count(home)[1].executed == ("first", "second", "third", "aside")
    assert "strata catalog rebuild" in capsys.readouterr().err


def test_a_port(home, capsys):
    refused(["serve", "--port", "99999"], 2, "from 1 to 65535", capsys)


IN_A_BOX = [shutil.which("bwrap") or "bwrap", "--dev-bind", "/", "/"]
COUNT = """
import sys
from pathlib import Path
from tests.test_bad_input import count
from flows.cli import explain
try:
    count(Path(sys.argv[1]))
except Exception as error:
    print("code", explain(error))
"""


def boxed(home: Path, *options: str, code: str = COUNT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*IN_A_BOX, *options, sys.executable, "-c", code, str(home)],
        cwd=ROOT,
        env={**os.environ, "STRATA_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_full_disk_is_refused_at_the_start(home):
    home.mkdir()
    done = boxed(home, "--size", "5000000", "--tmpfs", str(home))
    assert done.stdout == "code 3\n"
    assert f"the disk of {home} is full" in done.stderr
    assert len(done.stderr.splitlines()) <= 8


def test_a_read_only_home_is_named(home):
    home.mkdir()
    done = boxed(home, "--ro-bind", str(home), str(home))
    assert done.stdout == "code 3\n"
    assert f"Read-only file system: {home}" in done.stderr
    assert len(done.stderr.splitlines()) <= 8


FILL = """
import os, sys
from contextlib import suppress
from pathlib import Path
from tests.test_bad_input import count
from flows.cli import explain
from flows.run import carry_out, directly, make_plan
from components.artifacts.store import open_store
from components.settings import Settings
from tests.sample_pipeline import job, unwatched
home = Path(sys.argv[1])
filler = home / "filler"

def filling(run, pipeline):
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))
    directly(run, pipeline)

settings = Settings(home=home)
plan = make_plan(job(), open_store(settings))
try:
    carry_out(job(), settings, plan, engine=filling, watcher=unwatched)
except Exception as error:
    print("code", explain(error))
print("kept", len(list(open_store(settings).manifests())))
filler.unlink()
print(*count(home)[1].executed)
"""


def test_a_disk_that_fills_up_ends_the_run_and_space_lets_it_go_on(home):
    home.mkdir()
    done = boxed(home, "--size", "120000000", "--tmpfs", str(home), code=FILL)
    assert done.stdout.splitlines() == ["code 3", "kept 0", "first second third aside"], done
    error = done.stderr[done.stderr.index("error: ") :]
    assert f"{home} is full" in error
    assert "Traceback" not in done.stderr
