"""The stage as a launcher starts it: its own processes, signals, ranks and attempts."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from components.artifacts.identity import artifact_key, code_digest
from components.artifacts.local_store import LocalStore
from components.artifacts.manifest import InputRecord, Manifest, content_digest, list_files
from components.artifacts.store import ArtifactStore
from components.artifacts.types import Artifact
from components.contract import Resources
from components.execution.request import StageRequest
from components.pretraining.config import PretrainConfig
from components.stages import PRETRAIN, TABLE
from components.tracking.journal import read_journal
from tests.components.training.sample_inputs import SampleInputs, make_inputs

pytestmark = pytest.mark.slow
STEPS = 60


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleInputs:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


def commit(store: ArtifactStore, name: str, artifact: Artifact) -> InputRecord:
    """Put a folder into the store as an artifact; return it as an input."""
    attempt = store.new_attempt(name, "0" * 64)
    shutil.copytree(artifact.path, attempt.files)
    files = list_files(attempt.files)
    nothing: Mapping[str, str] = {}
    manifest = Manifest(
        stage=name, step=name, key="0" * 64, digest=content_digest(files), facts={}, config={},
        inputs=(), code_digest="", code_modules=dict(nothing), packages=dict(nothing),
        revisions=dict(nothing), numerics={}, seed=None, files=files, attempt=attempt.number,
        fence=attempt.number, run="r", host="h", started=0.0, ended=0.0,
    )  # fmt: skip
    assert store.commit(manifest)
    return InputRecord(name=name, stage=name, step=name, key="0" * 64, digest=manifest.digest)


class Attempts:
    """Start attempts at one artifact in a store of its own."""

    def __init__(self, home: Path, sample: SampleInputs, processes: int) -> None:
        self.home = home
        self.store = ArtifactStore(LocalStore(home / "store"), home / "locks")
        self.inputs = (
            commit(self.store, "shards", sample.shards),
            commit(self.store, "tokenizer", sample.tokenizer),
        )
        self.config = PretrainConfig(
            model=sample.shape,
            tokens=STEPS * 512,
            batch_tokens=512,
            sequence_length=64,
            heldout_tokens=300,
            heldout_evaluations=1,
        )
        self.resources = Resources(threads=1, micro_batch=2, processes=processes)
        digests = {record.name: record.digest for record in self.inputs}
        self.key = artifact_key(PRETRAIN, self.config, {}, digests)

    def start(self) -> subprocess.Popen[bytes]:
        attempt = self.store.new_attempt("pretrain", self.key)
        request = StageRequest(
            table=TABLE,
            stage="pretrain",
            step="commonsense",
            config=self.config.model_dump(mode="json"),
            inputs=self.inputs,
            key=self.key,
            code_digest=code_digest(PRETRAIN).digest,
            run="r",
            attempt=attempt.number,
            resources=self.resources,
            store=str(self.home / "store"),
            home=self.home,
        )
        Path(request.uri).write_text(request.model_dump_json())
        argv = [sys.executable, "-m", "components.execution.execute", request.uri]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        return subprocess.Popen(argv, env={**os.environ, "MASTER_PORT": port})

    def stop_after(self, steps: int) -> int:
        """Start an attempt, end it with SIGTERM after some steps; return the exit code."""
        process = self.start()
        attempt = self.store.attempts("pretrain", self.key)[-1]
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            done = [r["step"] for r in read_journal(attempt.journal) if r["kind"] == "metric"]
            if done and done[-1] >= steps:
                process.send_signal(signal.SIGTERM)
                break
            time.sleep(0.02)
        return process.wait(timeout=30)

    def digest(self) -> str:
        manifest = self.store.manifest("pretrain", self.key)
        assert manifest is not None
        return manifest.digest


def test_two_ranks_stopped_and_resumed_equal_one_process(
    sample: SampleInputs, tmp_path: Path
) -> None:
    one = Attempts(tmp_path / "one", sample, processes=1)
    assert one.start().wait(timeout=120) == 0

    two = Attempts(tmp_path / "two", sample, processes=2)
    assert two.stop_after(10) == 143
    assert two.start().wait(timeout=120) == 0
    assert two.digest() == one.digest()
    resumed = two.store.attempts("pretrain", two.key)[-1]
    steps = [r["step"] for r in read_journal(resumed.journal) if r["kind"] == "metric"]
    assert 10 < steps[0] < STEPS
    assert steps[-1] == STEPS
