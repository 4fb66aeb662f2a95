"""The file that describes a cluster: read whole, or refused with file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.contract import BadInput
from components.execution.cluster_settings import ClusterSettings, Toleration, read_cluster
from components.settings import Settings


def read(path: Path, text: str) -> ClusterSettings:
    file = path / "cluster.yaml"
    file.write_text(text)
    return read_cluster(Settings(cluster=str(file)))


def test_without_a_file_there_are_defaults() -> None:
    assert read_cluster(Settings()) == ClusterSettings()


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    found = read(tmp_path, "namespace: team\ntolerations: [{key: gpu, effect: NoSchedule}]\n")
    assert found.namespace == "team"
    assert found.tolerations == (Toleration(key="gpu", effect="NoSchedule"),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("namespacee: x", "namespacee: Extra inputs"),
        ("scratch_gb: -1", "scratch_gb: Input should be greater than 0"),
        ("queue: Team A", "queue: 'Team A' is no name"),
        ("tolerations: [{kee: x}]", r"tolerations.0.kee"),
        ("[1, 2]", "holds no keys"),
        ("a: [", "is no YAML"),
    ],
)
def test_what_cannot_be_read_is_refused_by_file_and_key(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(BadInput, match=told) as error:
        read(tmp_path, text)
    assert str(tmp_path / "cluster.yaml") in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"STRATA_CLUSTER=.*nowhere.yaml: No such file"):
        read_cluster(Settings(cluster=str(tmp_path / "nowhere.yaml")))
