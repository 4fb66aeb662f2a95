import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.contract import BadInput
from components.corpus.config import CorpusConfig, LocalFiles, PythonPackage
from components.corpus.sources import documents, revisions


def config(folder: Path) -> CorpusConfig:
    files = LocalFiles(paths=(str(folder),), domain="general")
    return CorpusConfig(sources=(files, PythonPackage(domain="code")))


def test_revisions_name_every_source_and_no_place(folder: Path) -> None:
    found = revisions(config(folder))
    assert list(found) == ["files:files", "python:stdlib:code"]
    assert found["files:files"].startswith("sha256:")
    assert str(folder) not in json.dumps(found)


def test_second_look_is_quick(folder: Path) -> None:
    revisions(config(folder))
    started = time.process_time()
    revisions(config(folder))
    assert time.process_time() - started < 1.0


def test_planning_imports_no_data_engine() -> None:
    program = "import components.corpus.sources, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not {"pyarrow", "daft", "datasets", "numpy", "torch"} & set(done.stdout.split())


def test_documents_are_those_of_the_revision(folder: Path, tmp_path: Path) -> None:
    source = config(folder).sources[0]
    promised = revisions(config(folder))["files:files"]
    found = list(documents(source, promised, seed=0, scratch=tmp_path))
    assert len(found) == 40
    with pytest.raises(BadInput, match="is not the planned one"):
        list(documents(source, "sha256:other", seed=0, scratch=tmp_path))
