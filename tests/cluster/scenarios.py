"""What must hold of the launcher on any cluster, be it the fake one or a real one.

A scenario is a function of a `Place`: a namespace with what stages need, and a launcher. Nothing
here knows what kind of cluster it is.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from components.artifacts.identity import artifact_key, code_digest
from components.artifacts.local_store import LocalStore
from components.artifacts.store import ArtifactStore
from components.contract import EnvironmentMissing, Resources, TryAgain
from components.execution.cluster_settings import ClusterSettings
from components.execution.job_manifest import job_name
from components.execution.kubernetes import KubernetesLauncher
from components.execution.launch import Ended, Handle, Reason, Running
from components.execution.request import StageRequest
from tests.processes import wait_until
from tests.sample_stages import COUNT, TABLE, CountConfig

IMAGE = "strata-stage"
START_SECONDS = 4


@dataclass
class Place:
    """Hold a namespace, a store and a launcher for one test."""

    kubeconfig: str
    namespace: str
    directory: Path
    core: Any
    batch: Any
    launcher: KubernetesLauncher = field(init=False)
    opened: list[KubernetesLauncher] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.objects = LocalStore(self.directory / "store")
        self.store = ArtifactStore(self.objects, self.directory / "locks")
        self.launcher = self.another_launcher()

    def settings(self, **changes: Any) -> ClusterSettings:
        """Describe the cluster, with changes."""
        values = {
            "kubeconfig": self.kubeconfig,
            "namespace": self.namespace,
            "image": IMAGE,
            "allow_tag": True,
            "start_seconds": START_SECONDS,
            "grace_seconds": 10,
        }
        return ClusterSettings(**(values | changes))

    def description(self) -> Path:
        """Write the file that STRATA_CLUSTER names, and return its path."""
        path = self.directory / "cluster.yaml"
        path.write_text(self.settings().model_dump_json())  # JSON is YAML
        return path

    def another_launcher(self, **changes: Any) -> KubernetesLauncher:
        """Open a launcher that knows nothing of the first; it is closed with the place."""
        self.opened.append(KubernetesLauncher(self.settings(**changes), self.objects))
        return self.opened[-1]

    def use_token(self, token: str = "") -> None:
        """Go on with another token; with none, that of the kubeconfig."""
        path = Path(self.kubeconfig)
        if token:
            known = yaml.safe_load(path.read_text())
            for user in known["users"]:
                user["user"]["token"] = token
            path = self.directory / "other-kubeconfig"
            path.write_text(yaml.safe_dump(known))
        self.launcher = self.another_launcher(kubeconfig=str(path))

    def request(self, resources: Resources | None = None, **fields: Any) -> StageRequest:
        """Write the request of a new attempt at counting."""
        count = CountConfig(**fields)
        key = artifact_key(COUNT, count, {}, {})
        attempt = self.store.new_attempt("count", key)
        request = StageRequest(
            table=TABLE,
            stage="count",
            step="counting",
            config=count.model_dump(mode="json"),
            inputs=(),
            key=key,
            code_digest=code_digest(COUNT).digest,
            run="20261125-120000000-counting-0000",
            attempt=attempt.number,
            resources=resources or Resources(threads=1, memory_gb=2),
            store=self.objects.uri,
        )
        attempt.write_record("request", request.model_dump(mode="json"))
        return request

    def submit(self, resources: Resources | None = None, **fields: Any) -> Handle:
        """Start counting."""
        return self.launcher.submit(self.request(resources, **fields))

    def run(self, resources: Resources | None = None, **fields: Any) -> Ended:
        """Count to the end."""
        ended = self.launcher.wait(self.submit(resources, **fields), 90)
        assert isinstance(ended, Ended), ended
        return ended

    def wait_for_progress(self, handle: Handle) -> None:
        """Return once the stage has counted something."""
        attempt = self.store.attempt(handle.stage, handle.key, handle.attempt)
        wait_until(lambda: (attempt.record("progress") or {}).get("done", 0) > 1, 60)

    def items(self, what: str) -> list[dict[str, Any]]:
        """List `pods`, `jobs` or `services` of the namespace."""
        call = {
            "pods": self.core.list_namespaced_pod,
            "services": self.core.list_namespaced_service,
            "jobs": self.batch.list_namespaced_job,
        }[what]
        return json.loads(call(self.namespace, _preload_content=False).data)["items"]

    def pod(self) -> str:
        """Return the name of the only pod."""
        (pod,) = self.items("pods")
        return pod["metadata"]["name"]

    def assert_nothing_is_left(self) -> None:
        """Fail unless Jobs, pods and Services are gone within half a minute."""
        for what in ("jobs", "pods", "services"):
            wait_until(lambda what=what: not self.items(what), 30, f"for {what} to go")


@contextmanager
def place(kubeconfig: str, directory: Path) -> Generator[Place]:
    """Make a namespace with the ConfigMap and the Secret that stages read, and remove it."""
    connection = config.new_client_from_config(config_file=kubeconfig)
    core, batch = client.CoreV1Api(connection), client.BatchV1Api(connection)
    namespace = f"strata-test-{time.time_ns() % 10**9}"
    raw = {"_preload_content": False}
    core.create_namespace({"metadata": {"name": namespace}}, **raw)
    settings = {"metadata": {"name": "strata-store"}, "data": {"STRATA_SLOTS": "1"}}
    core.create_namespaced_config_map(namespace, settings, **raw)
    secret = {"metadata": {"name": "strata-store"}, "stringData": {"AWS_ACCESS_KEY_ID": "none"}}
    core.create_namespaced_secret(namespace, secret, **raw)
    made = Place(kubeconfig, namespace, directory, core, batch)
    try:
        yield made
    finally:
        for launcher in (*made.opened, made.launcher):
            launcher.close()
        for job in made.items("jobs"):
            name = job["metadata"]["name"]
            with suppress(client.exceptions.NotFoundException):  # gone since the listing
                batch.delete_namespaced_job(name, namespace, propagation_policy="Background", **raw)
        core.delete_namespace(namespace, **raw)


def a_step_completes_and_leaves_its_log(place: Place) -> None:
    handle = place.submit(upto=5, seconds_each=0.1)
    ended = place.launcher.wait(handle, 60)
    assert isinstance(ended, Ended)
    assert (ended.code, ended.reason) == (0, Reason.COMPLETED)
    assert place.store.manifest("count", handle.key).facts == {"total": 10}
    assert list(place.launcher.logs(handle)) == ["counting from 0"]


def the_exit_code_tells_the_cause(place: Place) -> None:
    expected = {
        "guard": (4, Reason.GUARD, "loss is not finite"),
        "bad_input": (2, Reason.REFUSED, "the input is bad"),
        "try_again": (75, Reason.SERVICE_AWAY, "the service is away"),
        "error": (1, Reason.APP_ERROR, "RuntimeError: broken on purpose"),
        "kill": (137, Reason.KILLED, "killed"),
    }
    for fail, (code, reason, cause) in expected.items():
        ended = place.run(fail=fail)
        assert (ended.code, ended.reason, ended.cause) == (code, reason, cause)


def a_cancelled_step_saves_its_resume_point_and_frees_its_place(place: Place) -> None:
    handle = place.submit(upto=2000, seconds_each=0.05)
    place.wait_for_progress(handle)
    place.launcher.cancel(handle)
    ended = place.launcher.wait(handle, 30)
    assert isinstance(ended, Ended)
    assert (ended.code, ended.reason) == (143, Reason.STOPPED)
    assert place.store.attempt("count", handle.key, 1).has_resume_point()
    place.assert_nothing_is_left()


def a_second_submit_adopts_the_first(place: Place) -> None:
    request = place.request(upto=60, seconds_each=0.05)
    first = place.launcher.submit(request)
    other = place.another_launcher()
    assert other.find("count", request.key, 1) == first
    assert other.submit(request) == first
    assert len(place.items("jobs")) == 1
    assert other.handles() == [first]
    assert place.launcher.wait(first, 60).reason is Reason.COMPLETED
    assert other.wait(first, 10).reason is Reason.COMPLETED


def a_job_of_somebody_else_is_not_adopted(place: Place) -> None:
    request = place.request(upto=2)
    name = job_name("count", request.key, 1)
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": IMAGE}]}
    body = {"metadata": {"name": name}, "spec": {"suspend": True, "template": {"spec": pod}}}
    place.batch.create_namespaced_job(place.namespace, body, _preload_content=False)
    with pytest.raises(EnvironmentMissing, match="is not ours"):
        place.launcher.submit(request)


def what_is_left_from_an_erased_store_makes_room(place: Place) -> None:
    first = place.request(upto=2)
    assert place.launcher.wait(place.launcher.submit(first), 60).reason is Reason.COMPLETED
    wait_until(lambda: place.items("jobs")[0]["status"].get("completionTime"), 30)
    (left,) = place.items("jobs")
    shutil.rmtree(place.objects.directory(f"artifacts/count/{first.key}"))
    again = place.request(upto=2).model_copy(update={"run": "20261126-120000000-counting-0001"})
    assert (again.key, again.attempt) == (first.key, first.attempt)
    other = place.another_launcher()
    with pytest.raises(TryAgain, match="left from before the store was erased"):
        other.submit(again)
    wait_until(lambda: not place.items("jobs"), 30)
    assert other.wait(other.submit(again), 60).reason is Reason.COMPLETED
    (made,) = place.items("jobs")
    assert made["metadata"]["uid"] != left["metadata"]["uid"]
    assert place.store.manifest("count", again.key) is not None


def a_job_that_still_runs_for_another_run_is_left_alone(place: Place) -> None:
    first = place.request(upto=2000, seconds_each=0.05)
    handle = place.launcher.submit(first)
    another = first.model_copy(update={"run": "20261126-120000000-counting-0001"})
    with pytest.raises(EnvironmentMissing, match=first.run):
        place.launcher.submit(another)
    assert not isinstance(place.launcher.status(handle), Ended)
    place.launcher.cancel(handle)
    place.launcher.wait(handle, 30)


def a_pod_that_is_deleted_is_made_known(place: Place) -> None:
    handle = place.submit(upto=2000, seconds_each=0.05)
    place.wait_for_progress(handle)
    place.core.delete_namespaced_pod(place.pod(), place.namespace, _preload_content=False)
    ended = place.launcher.wait(handle, 60)
    assert isinstance(ended, Ended)
    assert (ended.code, ended.reason) == (143, Reason.STOPPED)


def a_job_that_is_deleted_is_made_known(place: Place) -> None:
    handle = place.submit(upto=2, resources=Resources(device="cuda", memory_gb=2))
    (job,) = place.items("jobs")
    place.batch.delete_namespaced_job(
        job["metadata"]["name"],
        place.namespace,
        propagation_policy="Background",
        _preload_content=False,
    )
    ended = place.launcher.wait(handle, 60)
    assert isinstance(ended, Ended)
    assert ended.reason is Reason.DELETED
    place.assert_nothing_is_left()


def two_nodes_are_an_indexed_job_behind_a_service(place: Place) -> None:
    handle = place.submit(Resources(nodes=2, threads=1, memory_gb=2), upto=40, seconds_each=0.05)
    wait_until(lambda: len(place.items("pods")) == 2, 30)
    (service,) = place.items("services")
    assert service["spec"]["clusterIP"] == "None"
    assert service["metadata"]["ownerReferences"][0]["kind"] == "Job"
    indices = {
        pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]
        for pod in place.items("pods")
    }
    assert indices == {"0", "1"}
    assert place.launcher.wait(handle, 60).reason is Reason.COMPLETED
    place.launcher.cancel(handle)
    place.assert_nothing_is_left()


def what_fits_no_node_waits_and_says_so(place: Place) -> None:
    handle = place.submit(Resources(device="cuda", processes=8, memory_gb=2), upto=2)
    wait_until(lambda: "Insufficient nvidia.com/gpu" in waiting(place, handle), 30)
    assert waiting(place, handle).startswith("unschedulable: 0/")
    place.launcher.cancel(handle)
    place.assert_nothing_is_left()


def an_image_that_does_not_exist_ends_the_attempt(place: Place) -> None:
    place.launcher = place.another_launcher(image="no-such-image")
    ended = place.run(upto=2)
    assert (ended.code, ended.reason) == (3, Reason.IMAGE_PULL)
    assert "no-such-image" in ended.cause
    place.assert_nothing_is_left()


def a_missing_secret_ends_the_attempt(place: Place) -> None:
    place.launcher = place.another_launcher(env_secret="no-such-secret")
    ended = place.run(upto=2)
    assert (ended.code, ended.reason) == (3, Reason.REFUSED)
    assert 'secret "no-such-secret" not found' in ended.cause
    place.assert_nothing_is_left()


def a_queued_job_waits_for_kueue(place: Place) -> None:
    place.launcher = place.another_launcher(queue="team")
    handle = place.submit(upto=2)
    wait_until(lambda: "queued by Kueue (team)" in waiting(place, handle), 30)
    assert place.items("pods") == []
    name = job_name("count", handle.key, 1)
    place.batch.patch_namespaced_job(
        name, place.namespace, {"spec": {"suspend": False}}, _preload_content=False
    )
    assert place.launcher.wait(handle, 60).reason is Reason.COMPLETED


def a_wrong_context_is_told(place: Place) -> None:
    with pytest.raises(EnvironmentMissing, match="elsewhere"):
        place.another_launcher(context="elsewhere")


def waiting(place: Place, handle: Handle) -> str:
    """Return what keeps an attempt from starting; empty where nothing does."""
    status = place.launcher.status(handle)
    return status.waiting if isinstance(status, Running) else ""


ALL: list[Callable[[Place], None]] = [
    a_step_completes_and_leaves_its_log,
    the_exit_code_tells_the_cause,
    a_cancelled_step_saves_its_resume_point_and_frees_its_place,
    a_second_submit_adopts_the_first,
    a_job_of_somebody_else_is_not_adopted,
    what_is_left_from_an_erased_store_makes_room,
    a_job_that_still_runs_for_another_run_is_left_alone,
    a_pod_that_is_deleted_is_made_known,
    a_job_that_is_deleted_is_made_known,
    two_nodes_are_an_indexed_job_behind_a_service,
    what_fits_no_node_waits_and_says_so,
    an_image_that_does_not_exist_ends_the_attempt,
    a_missing_secret_ends_the_attempt,
    a_queued_job_waits_for_kueue,
    a_wrong_context_is_told,
]
