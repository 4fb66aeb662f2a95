from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from components.artifacts.identity import artifact_key, code_digest
from components.artifacts.local_store import LocalStore
from components.artifacts.manifest import InputRecord
from components.artifacts.store import ArtifactStore
from components.contract import Resources
from components.execution.request import StageRequest
from tests.sample_stages import COUNT, TABLE, CountConfig


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(LocalStore(tmp_path / "store"), tmp_path / "locks")


@pytest.fixture
def request_count(store: ArtifactStore, tmp_path: Path) -> Callable[..., StageRequest]:
    """Write a request for the count stage into the store and return it."""

    def make(
        inputs: tuple[InputRecord, ...] = (),
        resources: Resources | None = None,
        **fields: object,
    ) -> StageRequest:
        config = CountConfig.model_validate(fields)
        key = artifact_key(COUNT, config, {}, {record.name: record.digest for record in inputs})
        attempt = store.new_attempt("count", key)
        request = StageRequest(
            table=TABLE,
            stage="count",
            step="count",
            config=config.model_dump(mode="json"),
            inputs=inputs,
            key=key,
            code_digest=code_digest(COUNT).digest,
            run="test-run",
            attempt=attempt.number,
            resources=resources or Resources(),
            store=str(tmp_path / "store"),
            home=tmp_path,
        )
        Path(request.uri).write_text(request.model_dump_json())
        return request

    return make
