"""The launcher on the cluster that KUBECONFIG names: a whole one, or a control plane alone.

A control plane without nodes gets one of ours for the time of the tests.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from kubernetes import client, config

from tests.cluster import scenarios
from tests.cluster.scenarios import Place
from tests.fakes.node_agent import NodeAgent

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory):
    path = os.environ.get("KUBECONFIG")
    if not path:
        pytest.skip("KUBECONFIG names no cluster")
    core = client.CoreV1Api(config.new_client_from_config(config_file=path))
    if json.loads(core.list_node(_preload_content=False).data)["items"]:
        yield path
        return
    place = tmp_path_factory.mktemp("node")
    with NodeAgent(path, "strata-test-node", place, images={scenarios.IMAGE}):
        yield path


@pytest.fixture
def place(kubeconfig: str, tmp_path: Path):
    with scenarios.place(kubeconfig, tmp_path) as made:
        yield made


@pytest.mark.parametrize("scenario", scenarios.ALL, ids=lambda each: each.__name__)
def test_it_holds(scenario, place: Place) -> None:
    scenario(place)
