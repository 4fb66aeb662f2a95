"""The fake API server: what holds of a real one, and its switch for faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from tests.cluster import conformance
from tests.cluster.conformance import Api, refused, said
from tests.cluster.scenarios import IMAGE
from tests.fakes.cluster import FakeCluster, fake_cluster
from tests.processes import wait_until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with fake_cluster(tmp_path_factory.mktemp("cluster")) as running:
        running.add_node("steady", images={IMAGE})
        yield running


@pytest.fixture
def api(cluster: FakeCluster, tmp_path: Path):
    with conformance.api(cluster.kubeconfig, tmp_path) as made:
        yield made


@pytest.mark.parametrize("behaviour", conformance.ALL, ids=lambda each: each.__name__)
def test_the_fake_behaves(behaviour, api: Api) -> None:
    behaviour(api)


def test_an_api_that_is_away_cuts_connections_for_a_while(cluster: FakeCluster, api: Api) -> None:
    api.note("one")
    api.leases.api_client.configuration.retries = False
    again = type(api.leases)(type(api.leases.api_client)(api.leases.api_client.configuration))
    cluster.api.away(0.5)
    with pytest.raises(HTTPError):
        again.read_namespaced_lease("one", api.namespace)
    wait_until(lambda: _answers(again, api.namespace), 20)


def test_an_api_in_trouble_answers_503(cluster: FakeCluster, api: Api) -> None:
    cluster.api.errors(60)
    code, reason, _ = refused(api.notes)
    cluster.api.errors(0)
    assert (code, reason) == (503, "ServiceUnavailable")
    assert api.notes()["items"] == []


def test_a_dropped_watch_ends_without_its_end(cluster: FakeCluster, api: Api) -> None:
    api.note("one")
    watch = api.watch_notes(60)
    assert next(watch)["type"] == "ADDED"
    cluster.api.drop_watches()
    with pytest.raises(HTTPError):
        next(watch)


def test_a_forgotten_version_is_410(cluster: FakeCluster, api: Api) -> None:
    version = api.notes()["metadata"]["resourceVersion"]
    api.note("one")
    cluster.server.forget_history()
    (event,) = api.watch_notes(5, resource_version=version)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    assert len(api.notes()["items"]) == 1


def test_a_right_can_be_taken_away(cluster: FakeCluster, api: Api) -> None:
    asked = {"namespace": api.namespace, "verb": "get", "resource": "pods", "subresource": "log"}
    body = {"spec": {"resourceAttributes": asked}}
    cluster.api.denied.add(("get", "pods/log"))
    answer = said(api.review.create_self_subject_access_review, body)
    cluster.api.denied.clear()
    assert answer["status"]["allowed"] is False


def test_a_node_plays_what_happens_to_pods(cluster: FakeCluster, api: Api) -> None:
    node = cluster.nodes["steady"]
    for name in ("evicted", "starved"):
        api.create_pod(name, "exec sleep 60")
        api.wait_for_phase(name, "Running")
    node.evict("evicted")
    node.oom("starved")
    evicted = api.wait_for_phase("evicted", "Failed")
    assert evicted["status"]["reason"] == "Evicted"
    told = conformance.condition(evicted, "DisruptionTarget")
    assert told is not None
    assert told["reason"] == "TerminationByKubelet"
    (status,) = api.wait_for_phase("starved", "Failed")["status"]["containerStatuses"]
    ended = status["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")


def test_an_image_that_is_not_there_cannot_be_pulled(api: Api) -> None:
    api.create_pod("one", container={"image": "no-such-image"})
    wait_until(lambda: _waits_for(api) == "ErrImagePull", 20)
    said(api.core.delete_namespaced_pod, "one", api.namespace)
    api.wait_until_gone(api.pod, "one")


def _waits_for(api: Api) -> str:
    statuses = api.pod("one")["status"].get("containerStatuses") or []
    return "".join((each["state"].get("waiting") or {}).get("reason", "") for each in statuses)


def _answers(leases: Any, namespace: str) -> bool:
    try:
        leases.read_namespaced_lease("one", namespace)
    except (HTTPError, ApiException):
        return False
    return True
