"""The stage as a launcher starts it: its own processes, signals, ranks and attempts."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from components.artifacts.identity import artifact_key, code_digest
from components.artifacts.local_store import LocalStore
from components.artifacts.manifest import InputRecord, Manifest, content_digest, list_files
from components.artifacts.store import ArtifactStore, Attempt
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

    def __init__(
        self, home: Path, sample: SampleInputs, resources: Resources, **changes: Any
    ) -> None:
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
            **changes,
        )
        self.resources = resources
        digests = {record.name: record.digest for record in self.inputs}
        self.key = artifact_key(PRETRAIN, self.config, {}, digests)

    def start(self) -> list[subprocess.Popen[bytes]]:
        """Start an attempt: `execute` once a node, as a cluster's pods do."""
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
        environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        return [
            subprocess.Popen(argv, env={**environment, "JOB_COMPLETION_INDEX": str(node)})
            for node in range(self.resources.nodes)
        ]

    def run(self) -> list[int]:
        """Carry out an attempt; return the exit codes of its nodes."""
        return [node.wait(timeout=240) for node in self.start()]

    def end_after(self, steps: int, end: Callable[[int], None]) -> list[int]:
        """Start an attempt, do something to its last node after some steps; return exit codes."""
        nodes = self.start()
        attempt = self.store.attempts("pretrain", self.key)[-1]
        deadline = time.monotonic() + 240
        while all(node.poll() is None for node in nodes) and time.monotonic() < deadline:
            if max(steps_of(attempt), default=0) >= steps:
                end(nodes[-1].pid)
                break
            time.sleep(0.02)
        return [node.wait(timeout=60) for node in nodes]

    def last_steps(self) -> list[int]:
        """Return the steps that the last attempt made."""
        return steps_of(self.store.attempts("pretrain", self.key)[-1])

    def manifest(self) -> Manifest:
        manifest = self.store.manifest("pretrain", self.key)
        assert manifest is not None
        return manifest


def steps_of(attempt: Attempt) -> list[int]:
    return [r["step"] for r in read_journal(attempt.journal) if "train/loss" in r.get("values", ())]


def terminate(node: int) -> None:
    os.kill(node, signal.SIGTERM)


def kill_rank(node: int) -> None:
    """Kill the last rank that a node started."""
    children = Path(f"/proc/{node}/task/{node}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)


def ranks(**changes: Any) -> Resources:
    return Resources(threads=1, micro_batch=2, **changes)


@pytest.fixture(scope="module")
def one_process(sample: SampleInputs, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    one = Attempts(tmp_path_factory.mktemp("one"), sample, ranks())
    assert one.run() == [0]
    return one.manifest()


@pytest.mark.parametrize("shape", [{"processes": 2}, {"nodes": 2}])
def test_two_ranks_stopped_and_resumed_equal_one_process(
    sample: SampleInputs, one_process: Manifest, tmp_path: Path, shape: dict[str, int]
) -> None:
    """With Muon, bit by bit; where there are two nodes only the second one is asked to stop."""
    two = Attempts(tmp_path, sample, ranks(**shape))
    nodes = two.resources.nodes
    assert two.end_after(10, terminate) == [143] * nodes
    assert two.run() == [0] * nodes
    assert two.manifest().digest == one_process.digest
    assert two.manifest().numerics["world_size"] == 2
    assert 10 < two.last_steps()[0] < STEPS
    assert two.last_steps()[-1] == STEPS


def test_two_nodes_share_out_adamw_and_go_on_after_a_stop(
    sample: SampleInputs, tmp_path: Path
) -> None:
    adamw = {"matrix_learning_rate": None, "learning_rate": 1e-3}
    plain = Attempts(tmp_path / "plain", sample, ranks(), **adamw)
    assert plain.run() == [0]
    shared = ranks(nodes=2, parallel="zero2")
    whole, halves = (Attempts(tmp_path / name, sample, shared, **adamw) for name in ("w", "h"))
    assert whole.run() == [0, 0]
    assert halves.end_after(10, terminate) == [143, 143]
    assert halves.run() == [0, 0]
    assert 10 < halves.last_steps()[0] < STEPS
    assert halves.manifest().digest == whole.manifest().digest
    assert halves.key == plain.key
    expected = plain.manifest().facts["final_loss"]
    assert halves.manifest().facts["final_loss"] == pytest.approx(expected, abs=1e-3)


def test_a_rank_that_dies_takes_the_other_node_along_and_keeps_the_cause(
    sample: SampleInputs, tmp_path: Path
) -> None:
    two = Attempts(tmp_path, sample, ranks(nodes=2))
    assert two.end_after(3, kill_rank) == [75, 137]
