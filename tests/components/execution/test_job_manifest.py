"""Every manifest that a recipe would send: valid for three Kubernetes versions, and restricted."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate
import pytest

from components.contract import BadInput, Resources
from components.execution.cluster_settings import (
    ClusterSettings,
    NodeRequirement,
    Toleration,
    TopologySpread,
)
from components.execution.job_manifest import POD_SUFFIX, job_name, manifests
from components.execution.request import StageRequest
from components.stages import STAGES
from flows.jobs import job_of
from flows.recipe import RECIPES, shipped
from tests.pod_security import violations

VERSIONS = ("1.35", "1.36", "1.37")
IMAGE = "strata-stage@sha256:" + "0" * 64
PLAIN = ClusterSettings(image=IMAGE)
FULL = ClusterSettings(
    image=IMAGE,
    queue="team",
    priority_class="training",
    node_selector={"gpu": "h200"},
    tolerations=(Toleration(key="nvidia.com/gpu", effect="NoSchedule"),),
    affinity=(NodeRequirement(key="zone", values=("a", "b")),),
    topology_spread=(TopologySpread(topology_key="kubernetes.io/hostname"),),
)


def request(stage: str = "pretrain", **changes: Any) -> StageRequest:
    values: dict[str, Any] = {
        "table": "components.stages:STAGES",
        "stage": stage,
        "step": "commonsense",
        "config": {},
        "inputs": (),
        "key": "0123456789abcdef" * 4,
        "code_digest": "",
        "run": "20261125-120000000-ci-0000",
        "attempt": 1,
        "store": "s3://bucket/prefix",
    }
    return StageRequest(**(values | changes))


def all_requests() -> list[StageRequest]:
    """Return a request for each step of each recipe, on one node and on three."""
    found: list[StageRequest] = []
    for name in RECIPES:
        job = job_of(shipped(name))
        steps: dict[str, str] = {}

        def note(step: str, stage: Any, *_: Any, steps: dict[str, str] = steps, **__: Any) -> None:
            steps[step] = stage.name

        job.pipeline(note)
        for step, stage in steps.items():
            resources = job.resources_of(step)
            for nodes in (1, 3):
                there = resources.model_copy(update={"nodes": nodes})
                found.append(request(stage, step=step, resources=there))
    assert {each.stage for each in found} == set(STAGES)
    return found


def shape(manifest: dict[str, Any]) -> str:
    """Write a manifest without what differs from step to step and cannot make it invalid."""
    text = json.dumps(manifest, sort_keys=True)
    named = manifest["metadata"]["annotations"]
    labels = manifest["metadata"]["labels"]
    for value in (manifest["metadata"]["name"], named["strata/step"], named["strata/stage"]):
        text = text.replace(value, "X")
    return text.replace(labels["strata/step"], "X")


@pytest.mark.parametrize("cluster", [PLAIN, FULL], ids=["plain", "full"])
def test_every_manifest_is_valid_and_restricted(cluster: ClusterSettings) -> None:
    shapes: dict[str, dict[str, Any]] = {}
    for each in all_requests():
        for manifest in manifests(each, cluster):
            shapes[shape(manifest)] = manifest
            if manifest["kind"] == "Job":
                assert violations(manifest["spec"]["template"]["spec"]) == []
    assert len(shapes) >= 4
    for manifest in shapes.values():
        for version in VERSIONS:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_names_leave_room_for_what_kubernetes_adds() -> None:
    for stage in (*STAGES, "a" * 80, "Strange_Stage"):
        name = job_name(stage, "f" * 64, 12345)
        assert len(name) + POD_SUFFIX <= 63
        assert all(c.isalnum() or c == "-" for c in name)
        assert name == name.lower()
    names = {job_name("pretrain", f"{n:064x}"[::-1], a) for n in range(50) for a in range(5)}
    assert len(names) == 250


def test_labels_hold_only_what_labels_may_hold() -> None:
    odd = request(step="scores.agent/greedy " + "x" * 80, run="é" * 90)
    (job,) = manifests(odd, PLAIN)
    for value in job["metadata"]["labels"].values():
        assert len(value) <= 63
        assert value == "" or (value[0].isalnum() and value[-1].isalnum())
    assert job["metadata"]["annotations"]["strata/step"] == odd.step


def test_a_gpu_is_asked_for_by_a_step_that_computes_on_one() -> None:
    def limits(**resources: Any) -> dict[str, str]:
        (job,) = manifests(
            request(resources=Resources(**resources)),
            ClusterSettings(image=IMAGE, gpu_resource="amd.com/gpu"),
        )
        return job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]

    assert limits(device="cuda", processes=4)["amd.com/gpu"] == "4"
    assert not [name for name in limits() if "gpu" in name]


def test_several_nodes_are_an_indexed_job_whose_first_pod_is_the_master() -> None:
    service, job = manifests(request(resources=Resources(nodes=3, processes=2)), PLAIN)
    name = job["metadata"]["name"]
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    assert (service["metadata"]["name"], service["spec"]["clusterIP"]) == (name, "None")
    pod = spec["template"]["spec"]
    assert pod["subdomain"] == name
    variables = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    assert variables["MASTER_ADDR"] == f"{name}-0.{name}"


def test_one_layer_owns_retries() -> None:
    (job,) = manifests(request(), PLAIN)
    assert job["spec"]["backoffLimit"] == 0
    rules = job["spec"]["podFailurePolicy"]["rules"]
    assert {rule["action"] for rule in rules} == {"FailJob"}
    assert set(rules[0]["onExitCodes"]["values"]) >= {1, 2, 3, 4, 5, 75, 130, 137, 143}


def test_values_of_the_environment_come_from_the_secret_and_the_config_map_alone() -> None:
    (job,) = manifests(request(), PLAIN)
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] + container["args"] == [
        "python",
        "-P",
        "-m",
        "components.execution.execute",
        request().uri,
    ]
    assert {each["name"] for each in container["env"]} == {"HOME", "STRATA_HOME", "TMPDIR"}
    assert container["envFrom"] == [
        {"configMapRef": {"name": "strata-store"}},
        {"secretRef": {"name": "strata-store"}},
    ]


def test_kueue_starts_a_job_that_has_a_queue() -> None:
    (job,) = manifests(request(), FULL)
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    (plain,) = manifests(request(), PLAIN)
    assert "suspend" not in plain["spec"]


def test_an_image_that_may_change_is_refused() -> None:
    with pytest.raises(BadInput, match="may change under a run"):
        manifests(request(), ClusterSettings(image="strata-stage:latest"))
