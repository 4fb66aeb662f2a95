"""The launcher on the cluster that KUBECONFIG names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import scenarios
from tests.cluster.scenarios import Place

pytestmark = pytest.mark.cluster


@pytest.fixture
def place(kubeconfig: str, tmp_path: Path):
    with scenarios.place(kubeconfig, tmp_path) as made:
        yield made


@pytest.mark.parametrize("scenario", scenarios.ALL, ids=lambda each: each.__name__)
def test_it_holds(scenario, place: Place) -> None:
    scenario(place)
