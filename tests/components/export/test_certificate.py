import json
from pathlib import Path

import pytest

from components.artifacts.types import Checkpoint
from components.export.certificate import certificate, mismatches, write_certificate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text("card")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "weights").write_bytes(b"\0" * 10)
    made = Checkpoint(tmp_path, "agent", "k" * 64, "d" * 64)
    write_certificate(certificate("tiny", [("checkpoint", made)], tmp_path), tmp_path)
    return tmp_path


def test_it_names_inputs_and_files(folder: Path) -> None:
    stated = json.loads((folder / "certificate.json").read_text())
    assert stated["inputs"] == [
        {"role": "checkpoint", "step": "agent", "key": "k" * 64, "digest": "d" * 64}
    ]
    assert list(stated["files"]) == ["README.md", "sub/weights"]
    assert stated["files"]["sub/weights"]["bytes"] == 10
    assert mismatches(folder) == []


def test_every_kind_of_change_is_found(folder: Path) -> None:
    (folder / "README.md").write_text("cart")
    (folder / "sub" / "weights").unlink()
    (folder / "added").write_text("")
    assert mismatches(folder) == [
        "sub/weights: missing",
        "added: not in the certificate",
        "README.md: content differs",
    ]
