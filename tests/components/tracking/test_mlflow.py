"""The shipper against a real MLflow: its database, and its server going away and coming back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from components.artifacts.local_store import LocalStore
from components.artifacts.manifest import InputRecord, Manifest, content_digest, list_files
from components.artifacts.store import ArtifactStore
from components.tracking.journal import Journal
from components.tracking.mlflow import EXPERIMENT, Shipper, flatten, metric_name
from components.tracking.mlflow_models import ALIAS
from components.tracking.snapshot import RunSnapshot, StepSnapshot

RUN = "20260101-ci-aa"
POINTS = 1200
"""More than one batch."""
SCORES = {
    "success/greedy": {"value": 0.8, "n": 250, "low": 0.75, "high": 0.85},
    "bits_per_byte/code": {"value": 1.9, "n": 40, "low": 1.8, "high": 2.0},
}


@dataclass
class World:
    """A store with a small pipeline in it, and the record of its run."""

    store: ArtifactStore
    steps: list[StepSnapshot] = field(default_factory=list)

    def run(self, state: str = "done", run_id: str = RUN, **changes: Any) -> RunSnapshot:
        ended = None if state == "running" else 200.0
        resolved = {"agent": {"learning_rate": 1e-4, "mixture": {"code": 0.5}}, "resources": {}}
        steps = tuple(changes.pop("steps", self.steps))
        return RunSnapshot(run_id, "ci", state, 100.0, ended, resolved, steps, "abc", **changes)

    def attempt(self, step: str, stage: str, steps: range, code: int = 0) -> None:
        attempt = self.store.new_attempt(stage, f"{step}-key")
        journal = Journal(attempt.journal)
        for at in steps:
            journal.metric(at, train__loss=1.0 / (at + 1), tokens=64.0 * at)
        journal.close()
        (attempt.path / "result.json").write_text(json.dumps({"code": code}))

    def commit(
        self, step: str, stage: str, files: dict[str, str], **inputs: tuple[str, str]
    ) -> None:
        key, number = f"{step}-key", self.store.fence(stage, f"{step}-key")
        place = self.store.attempt(stage, key, number).files
        for name, text in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
        listed = list_files(place)
        records = tuple(
            InputRecord(name=n, stage=s, step=i, key=f"{i}-key", digest=self.digest(i, s))
            for n, (i, s) in inputs.items()
        )
        manifest = Manifest(
            stage=stage,
            step=step,
            key=key,
            digest=content_digest(listed),
            facts={"parameters": 1234, "note": "words"},
            config={"learning_rate": 0.1, "long": "x" * 7000},
            inputs=records,
            code_digest="c" * 64,
            code_modules={},
            packages={},
            revisions={"package:numpy": "2.1"} if stage == "corpus" else {},
            numerics={"threads": 1},
            seed=0,
            files=listed,
            attempt=number,
            fence=number,
            run=RUN,
            host="h",
            started=110.0,
            ended=120.0,
        )
        assert self.store.commit(manifest)
        self.steps.append(
            StepSnapshot(step, stage, "done", key, number, "no artifact yet", 110.0, 120.0)
        )

    def digest(self, step: str, stage: str) -> str:
        manifest = self.store.manifest(stage, f"{step}-key")
        assert manifest is not None
        return manifest.digest


def make_world(root: Path) -> World:
    world = World(ArtifactStore(LocalStore(root / "store"), root / "locks"))
    world.attempt("corpus", "corpus", range(0))
    world.commit("corpus", "corpus", {"report.json": "{}"})
    world.attempt("agent", "rl", range(700), code=143)
    world.attempt("agent", "rl", range(650, POINTS))
    weights = {"model.safetensors": "w", "config.json": "{}"}
    world.commit("agent", "rl", weights, corpus=("corpus", "corpus"))
    world.attempt("scores.agent", "evaluate", range(0))
    table = {"scores.json": json.dumps(SCORES)}
    world.commit("scores.agent", "evaluate", table, checkpoint=("agent", "rl"))
    world.attempt("release", "export", range(0))
    world.commit("release", "export", weights | {"README.md": "card"}, checkpoint=("agent", "rl"))
    return world


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return make_world(tmp_path_factory.mktemp("shipped"))


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def uri(empty_database, tmp_path) -> str:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def shipper(world: World, uri: str, tmp_path: Path) -> Shipper:
    return Shipper(world.store, uri, cursors=tmp_path / "cursors", artifacts=tmp_path / "artifacts")


class Shown:
    """What MLflow shows of one pipeline run."""

    def __init__(self, uri: str, run_id: str = RUN) -> None:
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        found = self.client.search_runs(
            [experiment.experiment_id], f"tags.`strata.run_id` = '{run_id}'"
        )
        self.experiment = experiment.experiment_id
        self.parents = [run for run in found if "strata.step" not in run.data.tags]
        self.steps = {r.data.tags["strata.step"]: r for r in found if r not in self.parents}
        self.count = len(found)

    def curve(self, step: str, metric: str) -> list[int]:
        history = self.client.get_metric_history(self.steps[step].info.run_id, metric)
        return sorted(point.step for point in history)


def test_a_run_becomes_a_parent_with_a_child_for_each_step(world, uri, tmp_path):
    sender = shipper(world, uri, tmp_path)
    assert sender.ship(world.run(links={"dashboard": "http://d/run"})), sender.error
    shown = Shown(uri)
    (parent,) = shown.parents
    assert set(shown.steps) == {"corpus", "agent", "scores.agent", "release"}
    assert sender.links["mlflow_run"] == parent.info.run_id
    assert (parent.info.status, parent.info.start_time, parent.info.end_time) == (
        *("FINISHED", 100_000, 200_000),
    )
    assert "[Dashboard](http://d/run)" in parent.data.tags["mlflow.note.content"]
    assert parent.data.tags["mlflow.source.name"] == "strata run ci"
    kind = shown.client.get_experiment(shown.experiment).tags["mlflow.experimentKind"]
    assert kind == "custom_model_development"
    assert parent.data.params == {"agent.learning_rate": "0.0001", "agent.mixture.code": "0.5"}
    agent = shown.steps["agent"]
    assert agent.data.tags["mlflow.parentRunId"] == parent.info.run_id
    wanted = {
        "strata.run_id": RUN,
        "strata.step": "agent",
        "strata.stage": "rl",
        "strata.key": "agent-key",
        "strata.digest": world.digest("agent", "rl"),
        "strata.code_commit": "abc",
        "strata.attempt.1": "exit 143",
        "strata.attempt.2": "exit 0",
    }
    assert wanted.items() <= agent.data.tags.items()
    assert agent.data.params["learning_rate"] == "0.1"
    assert len(agent.data.params["long"]) <= 6000
    assert agent.data.metrics["facts/parameters"] == 1234


def test_the_attempts_are_one_curve_without_replays(world, uri, tmp_path):
    assert shipper(world, uri, tmp_path).ship(world.run())
    shown = Shown(uri)
    assert shown.curve("agent", "train/loss") == list(range(POINTS))
    assert shown.curve("agent", "tokens") == list(range(POINTS))


def test_inputs_models_scores_and_the_release_are_linked(world, uri, tmp_path):
    assert shipper(world, uri, tmp_path).ship(world.run())
    shown = Shown(uri)
    (read,) = shown.steps["agent"].inputs.dataset_inputs
    assert world.digest("corpus", "corpus").startswith(read.dataset.digest)
    assert json.loads(read.dataset.source)["key"] == "corpus-key"
    (source,) = shown.steps["corpus"].inputs.dataset_inputs
    assert (source.dataset.name, source.dataset.digest) == ("package:numpy", "2.1")
    (model,) = shown.client.search_logged_models([shown.experiment])
    assert (model.name, model.tags["strata.key"]) == ("agent", "agent-key")
    assert model.source_run_id == shown.steps["agent"].info.run_id
    scored = {metric.key: metric.value for metric in model.metrics}
    assert scored["eval/success/greedy/value"] == 0.8
    assert scored["eval/bits_per_byte/code/high"] == 2.0
    (parent,) = shown.parents
    assert parent.data.metrics["scores/agent/success/greedy"] == 0.8
    version = shown.client.get_model_version_by_alias("strata-ci", ALIAS)
    assert version.tags["strata.digest"] == world.digest("release", "export")
    assert version.run_id == shown.steps["release"].info.run_id
    listed = shown.client.list_artifacts(version.run_id, "model")
    assert {Path(file.path).name for file in listed} == {
        *("model.safetensors", "config.json", "README.md"),
    }


def test_shipping_again_without_the_cursor_changes_nothing(world, uri, tmp_path):
    sender = shipper(world, uri, tmp_path)
    assert sender.ship(world.run())
    for forget in (False, True):
        if forget:
            sender = shipper(world, uri, tmp_path)
            sender.forget(RUN)
        assert sender.ship(world.run()), sender.error
        shown = Shown(uri)
        assert shown.count == 5
        assert shown.curve("agent", "train/loss") == list(range(POINTS))
        assert len(shown.client.search_logged_models([shown.experiment])) == 1
        assert len(shown.client.search_model_versions("name = 'strata-ci'")) == 1


def test_a_step_that_the_cursor_does_not_know_is_not_made_twice(world, uri, tmp_path):
    sender = shipper(world, uri, tmp_path)
    assert sender.ship(world.run())
    file = tmp_path / "cursors" / f"{RUN}.json"
    cursor = json.loads(file.read_text())
    cursor["steps"] = {k: v for k, v in cursor["steps"].items() if not k.startswith("agent:")}
    file.write_text(json.dumps(cursor))
    assert shipper(world, uri, tmp_path).ship(world.run())
    shown = Shown(uri)
    assert shown.count == 5
    assert shown.curve("agent", "train/loss") == list(range(POINTS))


def test_a_running_step_grows_and_a_continued_run_goes_on(tmp_path, uri):
    world = World(ArtifactStore(LocalStore(tmp_path / "store"), tmp_path / "locks"))
    step = StepSnapshot("agent", "rl", "running", "agent-key", 1, "", 110.0)
    sender = shipper(world, uri, tmp_path)
    world.attempt("agent", "rl", range(5), code=143)
    assert sender.ship(world.run("running", steps=[step]))
    stopped = replace(step, state="stopped", ended=115.0)
    assert sender.ship(world.run("stopped", steps=[stopped]))
    shown = Shown(uri)
    assert shown.curve("agent", "train/loss") == list(range(5))
    assert [run.info.status for run in shown.parents] == ["KILLED"]
    sender = shipper(world, uri, tmp_path)
    world.attempt("agent", "rl", range(3, 9))
    assert sender.ship(world.run("running", steps=[replace(step, attempt=2)]))
    shown = Shown(uri)
    assert shown.curve("agent", "train/loss") == list(range(9))
    assert [run.info.status for run in shown.parents] == ["RUNNING"]
    assert shown.count == 2


def test_two_runs_that_share_an_artifact_show_it_both(world, uri, tmp_path):
    sender = shipper(world, uri, tmp_path)
    assert sender.ship(world.run())
    cached = [replace(step, state="cached") for step in world.steps]
    assert sender.ship(world.run(run_id="20260102-ci-bb", steps=cached))
    shown = Shown(uri, "20260102-ci-bb")
    assert shown.curve("agent", "train/loss") == list(range(POINTS))
    assert len(shown.client.search_logged_models([shown.experiment])) == 1
    assert shown.parents[0].data.metrics["scores/agent/success/greedy"] == 0.8


def test_names_and_values_fit_what_mlflow_takes():
    assert metric_name("eval/a b%c|d") == "eval/a b_c_d"
    assert dict(flatten({"a": {"b": 1, "c": [1, 2]}, "d": "x", "e": {}})) == {
        **{"a.b": "1", "a.c": "[1, 2]", "d": "x", "e": "{}"},
    }


class Server:
    """MLflow's own server on a loopback port; `stop` and `start` keep its database."""

    def __init__(self, directory: Path, port: int) -> None:
        self.uri = f"http://127.0.0.1:{port}"
        self.command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"),
            *("--port", str(port), "--no-serve-artifacts"),
            *("--backend-store-uri", f"sqlite:///{directory / 'mlflow.db'}"),
            *("--default-artifact-root", str(directory / "artifacts")),
        ]
        self.directory = directory
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.process = subprocess.Popen(
            self.command,
            cwd=self.directory,
            env=os.environ | quiet,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1).close()
                return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError("MLflow did not start")

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def server(empty_database, tmp_path) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    server = Server(tmp_path, port)
    yield server
    server.stop()


def test_a_server_that_is_away_is_caught_up_with(world, server, tmp_path):
    sender = shipper(world, server.uri, tmp_path)
    before = time.monotonic()
    assert not sender.ship(world.run("running", steps=world.steps[:1]))
    assert time.monotonic() - before < 30
    assert sender.error
    server.start()
    assert sender.ship(world.run("running", steps=world.steps[:2])), sender.error
    server.stop()
    assert not sender.ship(world.run())
    server.start()
    assert sender.ship(world.run()), sender.error
    shown = Shown(server.uri)
    assert shown.count == 5
    assert shown.curve("agent", "train/loss") == list(range(POINTS))
    assert shown.client.get_model_version_by_alias("strata-ci", ALIAS).version == "1"
    assert sender.links["mlflow"].startswith(server.uri)
