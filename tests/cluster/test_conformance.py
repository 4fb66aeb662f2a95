"""What we take for granted of Kubernetes, on the cluster that KUBECONFIG names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import conformance
from tests.cluster.conformance import Api

pytestmark = pytest.mark.cluster


@pytest.fixture
def api(kubeconfig: str, tmp_path: Path):
    with conformance.api(kubeconfig, tmp_path) as made:
        yield made


@pytest.mark.parametrize("behaviour", conformance.ALL, ids=lambda each: each.__name__)
def test_the_cluster_behaves(behaviour, api: Api) -> None:
    behaviour(api)
