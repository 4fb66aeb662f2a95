"""The cluster that KUBECONFIG names: a whole one, or a control plane alone.

A control plane without nodes gets one of ours for the time of the tests.
"""

from __future__ import annotations

import json
import os

import pytest
from kubernetes import client, config

from tests.cluster.scenarios import IMAGE
from tests.fakes.node_agent import NodeAgent


@pytest.fixture(scope="package")
def kubeconfig(tmp_path_factory):
    path = os.environ.get("KUBECONFIG")
    if not path:
        pytest.skip("KUBECONFIG names no cluster")
    core = client.CoreV1Api(config.new_client_from_config(config_file=path))
    if json.loads(core.list_node(_preload_content=False).data)["items"]:
        yield path
        return
    place = tmp_path_factory.mktemp("node")
    with NodeAgent(path, "strata-test-node", place, images={IMAGE}):
        yield path
