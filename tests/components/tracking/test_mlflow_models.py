"""Which artifacts are models, and which of them are for users."""

from __future__ import annotations

import pytest

from components.artifacts.manifest import FileRecord, Manifest
from components.tracking.mlflow_models import is_checkpoint, is_release


def manifest(stage: str, *files: str) -> Manifest:
    return Manifest(
        stage=stage,
        step=stage,
        key="k",
        digest="d",
        facts={},
        config={},
        inputs=(),
        code_digest="",
        code_modules={},
        packages={},
        revisions={},
        numerics={},
        seed=None,
        files=tuple(FileRecord(path=name, bytes=1, sha256="0") for name in files),
        attempt=1,
        fence=1,
        run="r",
        host="h",
        started=0.0,
        ended=1.0,
    )


@pytest.mark.parametrize(
    ("stage", "files", "checkpoint", "release"),
    [
        ("rl", ["model.safetensors", "config.json"], True, False),
        ("export", ["model.safetensors", "config.json"], False, True),
        ("evaluate", ["scores.json"], False, False),
    ],
)
def test_models_are_told_by_their_files_and_releases_by_their_stage(
    stage, files, checkpoint, release
):
    assert is_checkpoint(manifest(stage, *files)) is checkpoint
    assert is_release(manifest(stage, *files)) is release
