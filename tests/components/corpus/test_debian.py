"""Against the real apt and dpkg, with a package and a repository made here: no network, no root."""

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.contract import EnvironmentMissing, StageContext, TryAgain
from components.corpus.config import CorpusConfig, CorpusInputs, DebianPackage
from components.corpus.debian import Offer, documents, fetch, has_apt, offers
from components.corpus.sources import FALLBACK, revisions
from components.corpus.stage import run
from tests.processes import processes_of, wait_until

needs_apt = pytest.mark.skipif(not has_apt(), reason="apt and dpkg are programs of Debian")
SOURCE = DebianPackage(name="strata-sample", parser="text", domain="general")


class Repository:
    """Hold an apt repository of one package, and the apt configuration that names only it."""

    def __init__(self, top: Path, patch: pytest.MonkeyPatch) -> None:
        self.top, self.packages = top, top / "repository"
        self.packages.mkdir()
        for name in ("lists/partial", "cache/archives/partial", "etc"):
            (top / name).mkdir(parents=True)
        (top / "status").touch()
        (top / "etc/sources.list").write_text(f"deb [trusted=yes] file:{self.packages} ./\n")
        settings = {
            "Dir::Etc::sourcelist": top / "etc/sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": top / "lists",
            "Dir::State::status": top / "status",
            "Dir::Cache": top / "cache",
            "APT::Sandbox::User": "",
        }
        lines = [f'{name} "{value}";' for name, value in settings.items()]
        (top / "apt.conf").write_text("\n".join(lines))
        patch.setenv("APT_CONFIG", str(top / "apt.conf"))

    def publish(self, version: str, text: str) -> str:
        tree = self.top / f"tree-{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        control = (
            f"Package: strata-sample\nVersion: {version}\nArchitecture: all\n"
            "Maintainer: Nobody <nobody@example.org>\nDescription: sample\n"
        )
        (tree / "DEBIAN/control").write_text(control)
        place = tree / "usr/share/doc/strata-sample"
        place.mkdir(parents=True)
        (place / "story.txt").write_text(text)
        (place / "more.txt.gz").write_bytes(gzip.compress(text[::-1].encode()))
        deb = self.packages / f"strata-sample_{version}_all.deb"
        command = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(deb)]
        subprocess.run(command, check=True, capture_output=True)
        digest = hashlib.sha256(deb.read_bytes()).hexdigest()
        (self.packages / "Packages").write_text(
            f"{control}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"
        )
        subprocess.run(["apt-get", "update"], check=True, capture_output=True)
        return digest


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    top = tmp_path / "apt"
    top.mkdir()
    return Repository(top, monkeypatch)


@needs_apt
def test_package_is_fetched_checked_and_unpacked(repository: Repository, tmp_path: Path) -> None:
    digest = repository.publish("1.0", "A long story about the sea.")
    offer = offers(["strata-sample"], tmp_path / "cache/apt.json")["strata-sample"]
    assert offer == Offer("1.0", digest) == Offer.parse(str(offer))
    root = fetch(SOURCE, str(offer), tmp_path)
    found = {document.text for document in documents(SOURCE, root, 0)}
    assert found == {"A long story about the sea.", ".aes eht tuoba yrots gnol A"}
    shutil.rmtree(repository.packages)
    assert fetch(SOURCE, str(offer), tmp_path) == root  # kept: no archive is needed again


@needs_apt
def test_version_is_pinned(repository: Repository, tmp_path: Path) -> None:
    repository.publish("1.0", "first")
    first = offers(["strata-sample"], tmp_path / "one.json")["strata-sample"]
    repository.publish("2.0", "second")
    second = offers(["strata-sample"], tmp_path / "two.json")["strata-sample"]
    assert second.version == "2.0"
    with pytest.raises(EnvironmentMissing, match=r"no longer has strata-sample 1\.0"):
        fetch(SOURCE, str(first), tmp_path)


@needs_apt
def test_other_bytes_than_promised_are_refused(repository: Repository, tmp_path: Path) -> None:
    repository.publish("1.0", "first")
    with pytest.raises(TryAgain, match="apt's index says"):
        fetch(SOURCE, f"1.0 sha256:{'0' * 64}", tmp_path)
    assert not list((tmp_path / "debian").glob("*.deb"))


@needs_apt
def test_archive_that_is_away_is_worth_another_try(repository: Repository, tmp_path: Path) -> None:
    digest = repository.publish("1.0", "first")
    (repository.packages / "strata-sample_1.0_all.deb").unlink()
    with pytest.raises(TryAgain, match=r"apt-get download strata-sample=1\.0 failed"):
        fetch(SOURCE, f"1.0 sha256:{digest}", tmp_path)


FETCH = """
import sys
from pathlib import Path
from components.corpus.config import DebianPackage
from components.corpus.debian import fetch
source = DebianPackage(name="strata-sample", parser="text", domain="general")
fetch(source, "1.0 sha256:" + "0" * 64, Path(sys.argv[1]))
"""


@needs_apt
def test_a_download_does_not_outlive_a_killed_stage(tmp_path: Path) -> None:
    slow = tmp_path / "bin" / "apt-get"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 300\n")
    slow.chmod(0o755)
    path = f"{slow.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "STRATA_HOME": str(tmp_path)}
    stage = subprocess.Popen([sys.executable, "-c", FETCH, str(tmp_path)], env=environment)
    try:
        wait_until(lambda: "sleep 300 " in processes_of(tmp_path).values(), 60)
    finally:
        stage.kill()
        stage.wait()
    wait_until(lambda: not processes_of(tmp_path), 10)


@needs_apt
@pytest.mark.usefixtures("repository")
def test_empty_lists_are_told_with_their_cure(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match="apt-get update") as caught:
        offers(["strata-sample"], tmp_path / "apt.json")
    assert len(str(caught.value).splitlines()) <= 5


@needs_apt
def test_whole_stage_on_a_package(
    repository: Repository, make_context: Callable[..., StageContext]
) -> None:
    digest = repository.publish("1.0", "There was a harbour by the sea, and a light above it.")
    context = make_context(revisions={"debian:strata-sample": str(Offer("1.0", digest))})
    facts = run(CorpusConfig(sources=(SOURCE,)), CorpusInputs(), context)
    assert sum(facts.documents.values()) + sum(facts.heldout_documents.values()) == 2


def test_without_apt_a_fallback_stands_in_and_says_so(
    monkeypatch: pytest.MonkeyPatch, make_context: Callable[..., StageContext]
) -> None:
    monkeypatch.setenv("PATH", "")
    source = DebianPackage(
        name="dict-gcide",
        parser="dict",
        domain="general",
        fallback=("pydantic",),
        max_bytes=50_000,
    )
    config = CorpusConfig(sources=(source,), near_duplicates=None)
    found = revisions(config)
    assert found["debian:dict-gcide"].startswith(FALLBACK + "pydantic=2.")
    context = make_context(revisions=found)
    facts = run(config, CorpusInputs(), context)
    assert facts.fallbacks == ["debian:dict-gcide"]
    assert facts.documents["general"] > 10


def test_without_apt_and_fallback_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EnvironmentMissing, match="debian:strata-sample needs apt-get"):
        revisions(CorpusConfig(sources=(SOURCE,)))
