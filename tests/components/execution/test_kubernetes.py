"""The launcher on the fake cluster: the scenarios of a real one, and faults of the API."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from components.contract import EnvironmentMissing, Resources, TryAgain
from components.execution.cluster_api import Object, is_full_for_now
from components.execution.job_status import seconds
from components.execution.kubernetes import KubernetesLauncher
from components.execution.launch import Ended, Reason, Running, Unknown
from tests.cluster import scenarios
from tests.cluster.scenarios import Place
from tests.fakes.cluster import FakeCluster, fake_cluster
from tests.fakes.node_agent import NodeAgent
from tests.processes import wait_until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with fake_cluster(tmp_path_factory.mktemp("cluster")) as running:
        running.add_node("steady", images={scenarios.IMAGE})
        yield running


@pytest.fixture
def place(cluster: FakeCluster, tmp_path: Path):
    with scenarios.place(cluster.kubeconfig, tmp_path) as made:
        yield made


@pytest.mark.parametrize("scenario", scenarios.ALL, ids=lambda each: each.__name__)
def test_it_holds_on_the_fake(scenario, place: Place) -> None:
    scenario(place)


def test_an_api_that_is_away_costs_nothing(cluster: FakeCluster, place: Place) -> None:
    handle = place.submit(upto=120, seconds_each=0.05)
    place.wait_for_progress(handle)
    cluster.api.away(2.0)
    wait_until(lambda: isinstance(place.launcher.status(handle), Unknown), 10)
    assert place.launcher.wait(handle, 60).reason is Reason.COMPLETED


def test_what_was_missed_is_listed_again(cluster: FakeCluster, place: Place) -> None:
    handle = place.submit(upto=60, seconds_each=0.05)
    place.wait_for_progress(handle)
    cluster.server.forget_history()  # 410
    assert place.launcher.wait(handle, 60).reason is Reason.COMPLETED


def test_an_api_in_trouble_is_told_and_the_same_request_is_taken_later(
    cluster: FakeCluster, place: Place
) -> None:
    request = place.request(upto=2)
    cluster.api.errors(1.0)
    with pytest.raises(TryAgain, match="the cluster is away"):
        place.launcher.submit(request)
    cluster.api.errors(0.0)
    assert place.launcher.wait(place.launcher.submit(request), 60).code == 0


def test_a_node_that_is_gone_ends_what_ran_on_it(
    cluster: FakeCluster, place: Place, tmp_path: Path
) -> None:
    gpu = {"nvidia.com/gpu": "1"}
    with NodeAgent(cluster.kubeconfig, "leaving", tmp_path / "node", capacity=gpu) as node:
        handle = place.submit(
            resources=Resources(device="cuda", threads=1), upto=2000, seconds_each=0.05
        )
        wait_until(node.pods, 20)
        node.vanish()
        ended = place.launcher.wait(handle, 60)
        assert isinstance(ended, Ended)
        assert ended.reason is Reason.NODE_LOST
        node.come_back()


def test_a_quota_that_is_too_small_is_told(cluster: FakeCluster, place: Place) -> None:
    body = {"metadata": {"name": "small"}, "spec": {"hard": {"requests.memory": "1Gi"}}}
    cluster.server.objects.create("resourcequotas", place.namespace, body)
    ended = place.run(upto=2)
    assert (ended.code, ended.reason) == (3, Reason.REFUSED)
    assert "exceeded quota: small" in ended.cause
    place.assert_nothing_is_left()


def test_a_quota_that_is_full_for_now_is_waited_for(cluster: FakeCluster, place: Place) -> None:
    body = {"metadata": {"name": "shared"}, "spec": {"hard": {"requests.memory": "3Gi"}}}
    cluster.server.objects.create("resourcequotas", place.namespace, body)
    first = place.submit(upto=2000, seconds_each=0.05)
    place.wait_for_progress(first)
    place.launcher = place.another_launcher(start_seconds=1)
    second = place.submit(upto=3)
    wait_until(lambda: "exceeded quota: shared" in scenarios.waiting(place, second), 30)
    (job,) = [job for job in place.items("jobs") if second.key[:16] in job["metadata"]["name"]]
    made = seconds(job["metadata"]["creationTimestamp"])
    wait_until(lambda: time.time() > made + 2 * place.settings(start_seconds=1).start_seconds, 10)
    assert isinstance(place.launcher.status(second), Running)
    place.launcher.cancel(first)
    assert place.launcher.wait(second, 60).reason is Reason.COMPLETED


@pytest.mark.parametrize(
    ("quota", "full"),
    [
        ("requested: pods=1,requests.memory=2Gi, used: pods=3,requests.memory=6Gi, ", True),
        ("requested: pods=1,requests.memory=9Gi, used: pods=0,requests.memory=0, ", False),
    ],
)
def test_a_quota_that_is_full_differs_from_one_that_is_too_small(quota: str, full: bool) -> None:
    said = f'pods "x" is forbidden: exceeded quota: q, {quota}limited: pods=3,requests.memory=7Gi'
    assert is_full_for_now(said) is full


def test_a_refusal_without_figures_is_no_full_quota() -> None:
    assert not is_full_for_now('pods "x" is forbidden: violates PodSecurity "restricted"')


def test_pods_are_asked_for_where_their_watch_lags_behind_that_of_jobs(
    cluster: FakeCluster, place: Place
) -> None:
    place.launcher = Lagging(place.settings(), place.objects)
    handle = place.submit(upto=2000, seconds_each=0.05)
    place.wait_for_progress(handle)
    cluster.nodes["steady"].oom(place.pod())
    ended = place.launcher.wait(handle, 60)
    assert isinstance(ended, Ended)
    assert ended.reason is Reason.OUT_OF_MEMORY
    other = place.submit(upto=3)
    assert place.launcher.wait(other, 60).reason is Reason.COMPLETED
    assert list(place.launcher.logs(other)) == ["counting from 0"]


def test_trouble_while_an_end_is_dealt_with_is_no_end_and_no_error(
    cluster: FakeCluster, place: Place
) -> None:
    place.launcher = place.another_launcher(image="no-such-image")
    handle = place.submit(upto=2)
    wait_until(lambda: "ImagePull" in scenarios.waiting(place, handle), 30)
    cluster.api.errors(60.0)
    try:
        wait_until(lambda: isinstance(place.launcher.status(handle), Unknown), 30)
    finally:
        cluster.api.errors(0.0)
    ended = place.launcher.wait(handle, 60)
    assert isinstance(ended, Ended)
    assert ended.reason is Reason.IMAGE_PULL
    place.assert_nothing_is_left()


def test_nobody_asks_for_the_log_of_a_pod_that_is_gone(cluster: FakeCluster, place: Place) -> None:
    handle = place.submit(upto=2000, seconds_each=0.05)
    place.wait_for_progress(handle)
    name = place.pod()
    wait_until(lambda: f"log-{name}" in thread_names(), 10)
    place.core.delete_namespaced_pod(
        name, place.namespace, grace_period_seconds=0, _preload_content=False
    )
    wait_until(lambda: f"log-{name}" not in thread_names(), 30)
    assert isinstance(place.launcher.wait(handle, 60), Ended)


def thread_names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


class Lagging(KubernetesLauncher):
    """Never hears of pods by watch, as where that watch is far behind the one of Jobs."""

    def _note(self, kind: str, event: str, seen: Object) -> None:
        if kind != "pods":
            super()._note(kind, event, seen)


def test_a_token_that_has_expired_is_told_once(cluster: FakeCluster, place: Place) -> None:
    place.use_token("expired")
    with pytest.raises(EnvironmentMissing, match="token has expired or is wrong"):
        place.submit(upto=2)
    place.use_token()
    place.assert_nothing_is_left()
