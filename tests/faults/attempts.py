"""Attempts at one artifact as an orchestrator would ask for them, one request at a time."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from components.artifacts.identity import artifact_key, code_digest
from components.artifacts.local_store import LocalStore
from components.artifacts.manifest import InputRecord, Manifest, content_digest, list_files
from components.artifacts.store import ArtifactStore, Attempt
from components.artifacts.types import Artifact
from components.contract import Resources, Stage, StageConfig
from components.execution.execute import execute
from components.execution.request import StageRequest


def store_of(home: Path) -> ArtifactStore:
    """Open the store of a home."""
    return ArtifactStore(LocalStore(home / "store"), home / "locks")


def ask(
    home: Path,
    stage: Stage,
    config: StageConfig,
    table: str,
    *,
    inputs: tuple[InputRecord, ...] = (),
    resources: Resources | None = None,
) -> StageRequest:
    """Write the request of the next attempt at an artifact and return it."""
    key = artifact_key(stage, config, {}, {record.name: record.digest for record in inputs})
    request = StageRequest(
        table=table,
        stage=stage.name,
        step=stage.name,
        config=config.model_dump(mode="json"),
        inputs=inputs,
        key=key,
        code_digest=code_digest(stage).digest,
        run="faults",
        attempt=store_of(home).new_attempt(stage.name, key).number,
        resources=resources or Resources(threads=1),
        store=str(home / "store"),
        home=home,
    )
    Path(request.uri).write_text(request.model_dump_json())
    return request


def attempt_of(home: Path, request: StageRequest) -> Attempt:
    """Return the attempt that a request asks for."""
    return store_of(home).attempt(request.stage, request.key, request.attempt)


def carry_out(request: StageRequest) -> int:
    """Carry a request out in this process as its main process would; return the exit code."""
    return int(execute(request.uri))


def commit(home: Path, name: str, artifact: Artifact) -> InputRecord:
    """Put a folder into the store as an artifact; return it as an input."""
    store = store_of(home)
    attempt = store.new_attempt(name, "0" * 64)
    shutil.copytree(artifact.path, attempt.files)
    files = list_files(attempt.files)
    nothing: Mapping[str, str] = {}
    manifest = Manifest(
        stage=name, step=name, key="0" * 64, digest=content_digest(files), facts={}, config={},
        inputs=(), code_digest="", code_modules=dict(nothing), packages=dict(nothing),
        revisions=dict(nothing), numerics={}, seed=None, files=files, attempt=attempt.number,
        fence=attempt.number, run="faults", host="h", started=0.0, ended=0.0,
    )  # fmt: skip
    assert store.commit(manifest)
    return InputRecord(name=name, stage=name, step=name, key="0" * 64, digest=manifest.digest)
