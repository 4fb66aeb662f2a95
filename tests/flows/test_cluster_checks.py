"""`strata doctor` about a cluster: each fault is found, with its repair."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from components.settings import Settings
from flows.cluster_checks import RIGHTS, cluster
from tests.cluster import scenarios
from tests.fakes.cluster import FakeCluster, fake_cluster


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    with fake_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def place(fake: FakeCluster, tmp_path: Path):
    with scenarios.place(fake.kubeconfig, tmp_path) as made:
        yield made


def look(place: scenarios.Place, **changes: object) -> tuple[str, str, str]:
    described = {"kubeconfig": place.kubeconfig, "namespace": place.namespace, "allow_tag": True}
    file = place.directory / "cluster.yaml"
    file.write_text(yaml.safe_dump(described | changes))
    return cluster(Settings(cluster=str(file)))


def test_a_cluster_with_all_that_is_needed_is_well(place):
    state, found, repair = look(place)
    assert (state, repair) == ("ok", "")
    assert found.startswith("Kubernetes v1.")
    assert place.namespace in found


@pytest.mark.parametrize("right", RIGHTS, ids=lambda right: "-".join(filter(None, right)))
def test_a_right_that_is_missing_is_named(fake, place, right):
    verb, _, resource, sub = right
    name = f"{resource}/{sub}" if sub else resource
    fake.api.denied = {(verb, name)}
    try:
        state, found, repair = look(place)
    finally:
        fake.api.denied = set()
    assert state == "fault"
    assert f"you may not {verb} {name}" in found
    assert "rbac.yaml" in repair


def test_what_stages_read_must_be_there(place):
    state, found, repair = look(place, env_secret="none", env_config_map="nothing")
    assert state == "fault"
    assert "configmap nothing and secret none missing" in found
    assert repair.startswith("create configmap nothing and secret none")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"context": "elsewhere"}, "no way to context 'elsewhere'"),
        ({"allow_tag": False}, "may change under a run"),
        ({"kubeconfig": "/nowhere"}, "there is no way to"),
    ],
)
def test_a_way_that_leads_nowhere_is_told(place, changes, told):
    state, found, repair = look(place, **changes)
    assert state == "fault"
    assert told in found
    assert repair
