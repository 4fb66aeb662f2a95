"""The launcher on the fake cluster: the scenarios of a real one, and faults of the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.contract import EnvironmentMissing, Resources, TryAgain
from components.execution.launch import Ended, Reason, Unknown
from tests.cluster import scenarios
from tests.cluster.scenarios import Place
from tests.fakes.cluster import FakeCluster, fake_cluster
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


def test_a_node_that_is_gone_ends_what_ran_on_it(cluster: FakeCluster, place: Place) -> None:
    node = cluster.add_node("leaving", gpus=1)
    try:
        handle = place.submit(
            resources=Resources(device="cuda", threads=1), upto=2000, seconds_each=0.05
        )
        wait_until(node.pods, 20)
        node.vanish()
        ended = place.launcher.wait(handle, 60)
        assert isinstance(ended, Ended)
        assert ended.reason is Reason.NODE_LOST
    finally:
        node.come_back()


def test_a_quota_that_is_too_small_is_told(cluster: FakeCluster, place: Place) -> None:
    body = {"metadata": {"name": "small"}, "spec": {"hard": {"requests.memory": "1Gi"}}}
    cluster.server.objects.create("resourcequotas", place.namespace, body)
    ended = place.run(upto=2)
    assert (ended.code, ended.reason) == (3, Reason.REFUSED)
    assert "exceeded quota: small" in ended.cause
    place.assert_nothing_is_left()


def test_a_token_that_has_expired_is_told_once(cluster: FakeCluster, place: Place) -> None:
    place.use_token("expired")
    with pytest.raises(EnvironmentMissing, match="token has expired or is wrong"):
        place.submit(upto=2)
    place.use_token()
    place.assert_nothing_is_left()
