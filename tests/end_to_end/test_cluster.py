"""The whole `ci` recipe on a cluster: each step a Job, the store a bucket, the catalog PostgreSQL.

The cluster is the fake one; Prefect, MLflow, PostgreSQL and the stages are real, and moto serves
the bucket. On the way a pod is evicted, the orchestrator is killed, and one step trains on two
nodes. The models are those of a laptop, bit for bit.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest
import yaml
from kubernetes import client, config
from sqlalchemy import create_engine, inspect, text

from flows.runs import RunRecord
from tests.cluster.scenarios import IMAGE
from tests.end_to_end.command_line import Home
from tests.end_to_end.conftest import CiRun
from tests.fakes.api_server.objects import KINDS
from tests.fakes.api_server.server import TOKEN
from tests.fakes.cluster import FakeCluster, fake_cluster
from tests.processes import wait_until
from tests.servers.moto_server import moto_server
from tests.servers.postgres import PASSWORD, postgres
from tests.servers.s3_server import S3Server, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

NAMESPACE = "strata"
EVICTED, ORPHANED, SHARED = "agentic_base", "trajectories", "assistant"
"""Steps whose pod is evicted, whose orchestrator is killed, and that runs on two nodes."""
CHANGES = ["--set", f"resources.{SHARED}.nodes=2", "--set", f"resources.{SHARED}.threads=1"]


@dataclass(frozen=True)
class ClusterRun:
    """Hold the run that all tests look at."""

    home: Home
    cluster: FakeCluster
    s3: S3Server
    record: RunRecord | None = None
    """The run of `ci`, once it is over."""


@pytest.fixture(scope="module")
def place(new_home, tmp_path_factory) -> Iterator[ClusterRun]:
    """Start servers and cluster, and describe them to a home."""
    home: Home = new_home()
    directory = tmp_path_factory.mktemp("servers")
    with (
        moto_server(directory) as s3,
        postgres(home.temporary / "postgres") as database,
        fake_cluster(home.temporary) as cluster,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in s3.environment.items():
            if name.startswith("AWS_"):  # this test reads the bucket as well
                patch.setenv(name, value)
        for name in ("one", "two"):
            cluster.add_node(name, images={IMAGE})
        _fill_namespace(cluster, s3.environment)
        about = home.path.parent / "cluster.yaml"
        known = {"kubeconfig": cluster.kubeconfig, "namespace": NAMESPACE, "image": IMAGE}
        about.write_text(yaml.safe_dump({**known, "allow_tag": True, "grace_seconds": 20}))
        variables = {
            **s3.environment,
            "STRATA_LAUNCHER": "kubernetes",
            "STRATA_CLUSTER": str(about),
            "STRATA_CATALOG": database.url("catalog"),
            "STRATA_PREFECT_PORT": str(free_port()),
            "STRATA_MLFLOW_PORT": str(free_port()),
            "STRATA_DASHBOARD_PORT": str(free_port()),
        }
        home = replace(home, variables=variables)
        try:
            home.strata("up")
            yield ClusterRun(home, cluster, s3)
        finally:
            home.strata("down")


@pytest.fixture(scope="module")
def run(place: ClusterRun) -> ClusterRun:
    """Run `ci`, with a killed orchestrator and an evicted pod."""
    home = place.home
    arguments = ["run", "ci", "--here", "--json", *CHANGES]
    first = home.start(*arguments)
    wait_until(lambda: _share(home, ORPHANED) > 0.1, 600, f"for {ORPHANED}")
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    second = home.start(*arguments)
    wait_until(lambda: _share(home, EVICTED) > 0.3, 900, f"for {EVICTED}")
    _evict(place.cluster, EVICTED)
    answer = second.wait(1200)
    assert answer.code == 0, answer.talk[-4000:]
    return replace(place, record=home.run)


def test_the_models_are_those_of_a_laptop(run: ClusterRun, ci: CiRun, ci_copy: Home) -> None:
    made, local = _digests(run.record), ci.home.digests()
    before = list(made)[: list(made).index(SHARED)]
    assert {name: made[name] for name in before} == {name: local[name] for name in before}
    shared = ci_copy.manifest(SHARED)
    ci_copy.store.objects.delete(f"artifacts/{shared.stage}/{shared.key}/manifest.json")
    changes = [f"resources.{SHARED}.processes=2", f"resources.{SHARED}.threads=1"]
    ci_copy.strata("run", "ci", "--set", changes[0], "--set", changes[1])
    assert made == ci_copy.digests()


def test_what_went_wrong_cost_one_attempt_each_at_most(run: ClusterRun) -> None:
    lost = {
        name: [(attempt.record("result") or {}).get("cause") for attempt in attempts[:-1]]
        for name, step in run.record.steps.items()
        if len(attempts := run.home.store.attempts(step.stage, step.key)) > 1
    }
    assert lost == {EVICTED: [None]}, "the orphaned attempt is followed, not made again"
    evicted = run.record.steps[EVICTED]
    first = run.home.store.attempts(evicted.stage, evicted.key)[0]
    assert first.record("request")["run"] == run.record.id


def test_nothing_is_left_on_the_cluster(run: ClusterRun) -> None:
    objects = run.cluster.server.objects
    wait_until(lambda: not _running(run.cluster), 30)
    assert not list(objects.all("services", NAMESPACE)) or all(
        service["metadata"]["ownerReferences"] for service in objects.all("services", NAMESPACE)
    )


def test_a_second_run_makes_nothing(run: ClusterRun) -> None:
    answer = run.home.strata("run", "ci", "--here", "--json")
    assert answer.last_line["executed"] == []


def test_a_submitted_run_is_carried_out_by_the_worker(run: ClusterRun) -> None:
    answer = run.home.strata("run", "ci", "--json", *CHANGES)
    assert "submitted; Ctrl-C leaves it running" in answer.talk
    assert answer.last_line["executed"] == []
    assert answer.last_line["cached"] == list(run.record.steps)


def test_a_submitted_run_outlives_who_asked_for_it_and_its_orchestrator(run: ClusterRun) -> None:
    home = run.home
    asked = home.start("run", "ci", *CHANGES, "--set", f"{EVICTED}.learning_rate=0.002")
    before = run.record.steps[EVICTED].key
    wait_until(lambda: home.steps()[EVICTED].key not in {None, before}, 120, "for its orchestrator")
    wait_until(lambda: _share(home, EVICTED) > 0.05, 300, f"for {EVICTED}")
    first = home.run
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: home.run.pid != first.pid, 120, "for another orchestrator")
    wait_until(lambda: "another one goes on" in asked.talk.read_text(), 60, "for the follower")
    asked.end()
    assert home.run.id == first.id
    wait_until(lambda: home.steps()[EVICTED].state == "running", 60)
    home.strata("cancel")
    wait_until(lambda: home.run.state == "stopped", 60, "for the run to stop")
    wait_until(lambda: not _running(run.cluster), 30, "for its pods to go")
    assert len(home.attempts(EVICTED)) == 1, "the other orchestrator follows the attempt that runs"


def test_no_secret_is_written_down(run: ClusterRun) -> None:
    """Not in a log, a record, a database of a server, or an object of the cluster."""
    secrets = {PASSWORD, run.s3.secret_key, TOKEN}
    written = dict(_written(run))
    found = [
        (where, secret)
        for where, data in written.items()
        for secret in secrets
        if secret.encode() in data
    ]
    assert found == []
    assert sum(data.count(b"\n") for where, data in written.items() if _is_told(where)) > 10_000
    for place in ("home/", "bucket/", "catalog/", "cluster/"):
        assert any(where.startswith(place) for where in written), place


def _written(run: ClusterRun) -> Iterator[tuple[str, bytes]]:
    """Yield everything that the runs wrote anywhere, with where it lies."""
    for path in (*run.home.path.rglob("*"), *run.home.path.parent.glob("*.talk")):
        with suppress(FileNotFoundError):  # journals of databases come and go
            if path.is_file():
                yield f"home/{path.relative_to(run.home.path.parent)}", path.read_bytes()
    s3 = run.s3.client()
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=run.s3.bucket):
        for each in page["Contents"]:
            body = s3.get_object(Bucket=run.s3.bucket, Key=each["Key"])["Body"]
            yield f"bucket/{each['Key']}", body.read()
    catalog = create_engine(run.home.variables["STRATA_CATALOG"])
    with catalog.connect() as connection:
        for table in inspect(connection).get_table_names():
            rows = connection.execute(text(f'SELECT t::text FROM "{table}" t'))
            yield f"catalog/{table}", "\n".join(row for (row,) in rows).encode()
    catalog.dispose()
    for plural in set(KINDS) - {"secrets"}:
        for each in run.cluster.server.objects.all(plural):
            name = f"{plural}/{each['metadata']['name']}"
            yield f"cluster/{name}", json.dumps(each).encode()


def _is_told(where: str) -> bool:
    """Return whether what lies there is read as lines: logs, journals, records."""
    return where.endswith((".log", ".json", ".jsonl", ".talk", ".txt"))


def _digests(record: RunRecord) -> dict[str, str | None]:
    return {name: step.digest for name, step in record.steps.items()}


def _running(cluster: FakeCluster) -> list[str]:
    pods = cluster.server.objects.all("pods")
    return [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"]


def _share(home: Home, step: str) -> float:
    attempts = home.attempts(step)
    progress = attempts[-1].record("progress") if attempts else None
    if not progress or not progress.get("total"):
        return 0.0
    return progress["done"] / progress["total"]


def _evict(cluster: FakeCluster, step: str) -> None:
    (pod,) = [
        pod["metadata"]["name"]
        for pod in cluster.server.objects.all("pods", NAMESPACE)
        if pod["metadata"]["labels"]["strata/step"] == step
    ]
    (node,) = [node for node in cluster.nodes.values() if pod in node.pods()]
    node.evict(pod)


def _fill_namespace(cluster: FakeCluster, environment: dict[str, str]) -> None:
    """Make the namespace with the ConfigMap and the Secret that the stages read."""
    core = client.CoreV1Api(config.new_client_from_config(config_file=cluster.kubeconfig))
    raw = {"_preload_content": False}
    core.create_namespace({"metadata": {"name": NAMESPACE}}, **raw)
    settings = {k: v for k, v in environment.items() if k.startswith("STRATA_")}
    secret = {k: v for k, v in environment.items() if not k.startswith("STRATA_")}
    body = {"metadata": {"name": "strata-store"}, "data": settings}
    core.create_namespaced_config_map(NAMESPACE, body, **raw)
    body = {"metadata": {"name": "strata-store"}, "stringData": secret}
    core.create_namespaced_secret(NAMESPACE, body, **raw)
