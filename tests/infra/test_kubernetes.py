"""Every overlay as kubectl renders it: valid for three versions of Kubernetes, and closed."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from components.contract import Resources
from components.execution.cluster_settings import ClusterSettings, read_cluster
from components.execution.job_manifest import manifests
from components.execution.request import StageRequest
from components.settings import Settings, settings
from flows.cluster_checks import RIGHTS
from flows.recipe import RECIPES, resolve
from tests.pod_security import containers, violations

KUBERNETES = Path(__file__).parents[2] / "infra/kubernetes"
OVERLAYS = ("kind", "cluster", "cluster-kueue")
VERSIONS = ("1.32", "1.34", "1.37")
OF_KUEUE = {"ClusterQueue", "LocalQueue", "ResourceFlavor"}
"""Kinds that Kueue brings along; the schemas of Kubernetes do not have them."""
CLUSTER_WIDE = {"Namespace", "ClusterQueue", "ResourceFlavor"}
READ = {"get", "list", "watch"}
ALLOWED = {
    "jobs": READ | {"create", "patch", "delete"},
    "services": READ | {"create", "patch", "delete"},
    "pods": READ | {"delete"},
    "events": READ,
    "pods/log": {"get"},
}
"""All that anything of ours may ask the API server for."""
SERVERS = {"prefect", "worker", "reconciler", "mlflow", "dashboard"}


@cache
def rendered(overlay: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / "overlays" / overlay)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(overlay: str, *kinds: str) -> list[dict[str, Any]]:
    return [each for each in rendered(overlay) if each["kind"] in kinds]


def pods(overlay: str) -> dict[str, dict[str, Any]]:
    """Return the pod template of every workload, by the workload's name."""
    found = of_kind(overlay, "Deployment", "StatefulSet", "DaemonSet", "Job")
    assert found
    return {each["metadata"]["name"]: each["spec"]["template"] for each in found}


def setting_maps(overlay: str) -> dict[str, dict[str, str]]:
    return {m["metadata"]["name"]: m["data"] for m in of_kind(overlay, "ConfigMap")}


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Evaluate the parts of a label selector that the policies use."""
    for rule in selector.get("matchExpressions", ()):
        assert rule["operator"] == "In"
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return all(labels.get(k) == v for k, v in selector.get("matchLabels", {}).items())


every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def test_every_overlay_is_tested():
    assert {path.name for path in (KUBERNETES / "overlays").iterdir()} == set(OVERLAYS)


def test_only_what_the_oldest_kubectl_renders_is_used():
    for path in KUBERNETES.rglob("kustomization.yaml"):
        used = set(yaml.safe_load(path.read_text()))
        assert used <= {"namespace", "bases", "resources", "images", "patchesStrategicMerge"}, path


@every_overlay
@pytest.mark.parametrize("version", VERSIONS)
def test_objects_are_valid(overlay, version):
    for each in rendered(overlay):
        if each["kind"] in OF_KUEUE:
            assert each["apiVersion"].startswith("kueue.x-k8s.io/")
        else:
            kubernetes_validate.validate(each, version, strict=True)


@every_overlay
def test_everything_lies_in_our_namespace_which_admits_restricted_pods_only(overlay):
    for each in rendered(overlay):
        if each["kind"] not in CLUSTER_WIDE:
            assert each["metadata"]["namespace"] == "strata", each["metadata"]["name"]
    (namespace,) = of_kind(overlay, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@every_overlay
def test_pods_are_restricted_with_a_read_only_root(overlay):
    for name, pod in pods(overlay).items():
        assert violations(pod["spec"]) == [], name
        for container in containers(pod["spec"]):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_check_of_restricted_finds_what_it_should():
    spec = pods("kind")["prefect"]["spec"]
    (container,) = spec["containers"]
    open_ones = [
        {**spec, "hostNetwork": True},
        {**spec, "securityContext": {}},
        {**spec, "volumes": [{"name": "disk", "hostPath": {"path": "/"}}]},
        {**spec, "containers": [{**container, "securityContext": {}}]},
        {**spec, "initContainers": [{"name": "first"}]},
    ]
    assert all(violations(each) for each in open_ones)


@every_overlay
def test_servers_are_watched_and_bounded(overlay):
    for name, pod in pods(overlay).items():
        for container in pod["spec"]["containers"]:
            for bound in ("requests", "limits"):
                assert {"cpu", "memory"} <= set(container["resources"][bound]), name
            if name != "buckets":  # a Job is done or is not
                assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container), name
        for volume in pod["spec"].get("volumes", ()):
            assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""}), (name, volume)


@every_overlay
def test_a_server_has_a_disruption_budget_that_never_blocks_a_drain(overlay):
    budgets = of_kind(overlay, "PodDisruptionBudget")
    for name, pod in pods(overlay).items():
        found = [b for b in budgets if selects(b["spec"]["selector"], pod["metadata"]["labels"])]
        assert len(found) == (name != "buckets"), name
        assert all(b["spec"]["maxUnavailable"] == 1 for b in found)


@every_overlay
def test_images_are_pinned(overlay):
    for name, pod in pods(overlay).items():
        for container in containers(pod["spec"]):
            assert re.search(r"@sha256:[0-9a-f]{64}$|:\d+\.\d+[\w.-]*$", container["image"]), name


@every_overlay
def test_what_our_images_start_is_a_child_of_their_init(overlay):
    for name, pod in pods(overlay).items():
        for container in pod["spec"]["containers"]:
            if container["image"].startswith("strata-flow"):
                assert "command" not in container, f"{name}: it would replace the ENTRYPOINT"


def test_kind_runs_the_stage_image_that_was_loaded_into_it(tmp_path):
    (tmp_path / "cluster.yaml").write_text(setting_maps("kind")["strata-cluster"]["cluster.yaml"])
    cluster = read_cluster(Settings(cluster=str(tmp_path / "cluster.yaml")))
    flow = pods("kind")["worker"]["spec"]["containers"][0]["image"]
    assert cluster.image_for_pods() == flow.replace("flow", "stage")


@every_overlay
def test_rights_equal_the_allow_list(overlay):
    assert not of_kind(overlay, "ClusterRole", "ClusterRoleBinding")
    (role,) = of_kind(overlay, "Role")
    granted: dict[str, set[str]] = {}
    for rule in role["rules"]:
        assert set(rule) == {"apiGroups", "resources", "verbs"}
        for resource in rule["resources"]:
            granted.setdefault(resource, set()).update(rule["verbs"])
    assert granted == ALLOWED
    assert {group for rule in role["rules"] for group in rule["apiGroups"]} == {"", "batch"}
    (binding,) = of_kind(overlay, "RoleBinding")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [s["name"] for s in binding["subjects"]] == ["strata-launcher"]


@every_overlay
def test_only_what_launches_has_a_token(overlay):
    accounts = {a["metadata"]["name"]: a for a in of_kind(overlay, "ServiceAccount")}
    assert not any(account["automountServiceAccountToken"] for account in accounts.values())
    for name, pod in pods(overlay).items():
        launches = name in {"worker", "reconciler"}
        account = "strata-launcher" if launches else "strata-server"
        assert pod["spec"]["serviceAccountName"] == account
        assert account in accounts
        assert pod["spec"]["automountServiceAccountToken"] is launches


@every_overlay
def test_secrets_are_referred_to_and_never_written_down(overlay):
    assert not of_kind(overlay, "Secret")
    for name, data in setting_maps(overlay).items():
        for key, value in data.items():
            assert not re.search("PASSWORD|SECRET|TOKEN|ACCESS_KEY", key), (name, key)
            assert not re.search(r"://[^/\s]*:[^/\s]*@", value), (name, key)
    for name, pod in pods(overlay).items():
        for container in containers(pod["spec"]):
            for variable in container.get("env", ()):
                secret = re.search("PASSWORD|SECRET|CATALOG|DATABASE|BACKEND|KEY", variable["name"])
                if secret:
                    assert set(variable["valueFrom"]) == {"secretKeyRef"}, (name, variable)


@every_overlay
def test_every_pod_is_closed_until_a_policy_opens_it(overlay):
    policies = of_kind(overlay, "NetworkPolicy")
    (closed,) = [p for p in policies if p["metadata"]["name"] == "default-deny"]
    assert closed["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy in policies:
        spec = policy["spec"]
        assert set(spec["policyTypes"]) <= {"Ingress", "Egress"}
        for rule in (*spec.get("ingress", ()), *spec.get("egress", ())):
            peers = rule.get("from") or rule.get("to")
            assert peers, policy["metadata"]["name"]
            for peer in peers:
                if "ipBlock" in peer:
                    assert "169.254.169.254/32" in peer["ipBlock"]["except"]
                    assert rule["ports"]


def reachable(overlay: str, name: str) -> set[int | str]:
    """Return the ports that a pod of this name may connect to; `any` for all."""
    ports: set[int | str] = set()
    for policy in of_kind(overlay, "NetworkPolicy"):
        spec = policy["spec"]
        if selects(spec["podSelector"], {"app.kubernetes.io/name": name}):
            for rule in spec.get("egress", ()):
                ports |= {p["port"] for p in rule.get("ports", ())} or {"any"}
    return ports


@every_overlay
def test_policies_open_what_is_used_and_no_more(overlay):
    to_store, to_servers = {443, 9000}, {4200, 5000}
    assert reachable(overlay, "worker") == {53, 5432, 6443} | to_store | to_servers
    assert reachable(overlay, "reconciler") == reachable(overlay, "worker")
    assert reachable(overlay, "dashboard") == {53, 5432} | to_store | to_servers
    assert reachable(overlay, "mlflow") == {53, 5432} | to_store
    assert reachable(overlay, "prefect") == {53, 5432}
    among_ranks, to_debian = "any", 80
    assert reachable(overlay, "stage") == {53, among_ranks, to_debian} | to_store
    assert reachable(overlay, "somebody") == {53}


@every_overlay
def test_services_stay_inside_and_find_their_pods(overlay):
    labels = [pod["metadata"]["labels"] for pod in pods(overlay).values()]
    for service in of_kind(overlay, "Service"):
        assert service["spec"].get("type", "ClusterIP") == "ClusterIP"
        selector = {"matchLabels": service["spec"]["selector"]}
        assert sum(selects(selector, each) for each in labels) == 1
    assert not of_kind(overlay, "Ingress")  # no server has a login


@every_overlay
def test_what_a_pod_refers_to_is_there(overlay):
    maps = set(setting_maps(overlay))
    secrets = {"strata-store", "strata-databases", "strata-postgres"}  # README.md makes them
    for pod in pods(overlay).values():
        text = yaml.safe_dump(pod)
        for volume in pod["spec"].get("volumes", ()):
            if "configMap" in volume:
                assert volume["configMap"]["name"] in maps
        for container in containers(pod["spec"]):
            for source in container.get("envFrom", ()):
                if "configMapRef" in source:
                    assert source["configMapRef"]["name"] in maps
                else:
                    assert source["secretRef"]["name"] in secrets
        for name in re.findall(r"secretKeyRef:\s+key: \w+\s+name: (\S+)", text):
            assert name in secrets


@every_overlay
@pytest.mark.parametrize("name", ["worker", "reconciler", "dashboard"])
def test_settings_are_known_and_parse(overlay, name):
    (container,) = pods(overlay)[name]["spec"]["containers"]
    maps = setting_maps(overlay)
    environment = {"STRATA_CATALOG": "postgresql+psycopg://strata:pass@database/strata"}
    for source in container["envFrom"]:
        environment |= maps.get(source.get("configMapRef", {}).get("name", ""), {})
    read = settings(environment)
    assert read.launcher == "kubernetes"
    assert read.store.startswith("s3://")
    assert read.prefect.startswith("http://prefect:")
    for recipe in RECIPES:
        changed = resolve(recipe, settings=read)
        tiers = [getattr(step, "sandbox_tier", None) for _, step in changed]
        assert set(tiers) == {None, "landlock"}, "a restricted pod has no user namespaces"


@every_overlay
def test_no_gpu_where_no_overlay_gives_one(overlay):
    (quota,) = of_kind(overlay, "ResourceQuota")
    gpus = int(quota["spec"]["hard"]["requests.nvidia.com/gpu"])
    assert gpus == 0 if overlay == "kind" else gpus > 0


@every_overlay
def test_limits_and_quota_admit_the_jobs_of_the_launcher(overlay):
    (quota,), (limits,) = of_kind(overlay, "ResourceQuota"), of_kind(overlay, "LimitRange")
    (limit,) = limits["spec"]["limits"]
    asked = StageRequest(
        table="", stage="pretrain", step="stem", config={}, inputs=(), key="0" * 64,
        code_digest="", run="r", attempt=1, store="s3://strata/store",
        resources=Resources(threads=16),
    )  # fmt: skip
    (job,) = manifests(asked, ClusterSettings(image="strata-stage@sha256:" + "0" * 64))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    own = container["resources"]
    admitted = {
        "requests": limit["defaultRequest"] | own["requests"],
        "limits": limit["default"] | own["limits"],
    }
    assert "cpu" not in admitted["limits"], "a limit below the request would be refused"
    for name in quota["spec"]["hard"]:
        kind, _, resource = name.partition(".")
        if kind in admitted and "/" not in resource:
            assert resource in admitted[kind], f"a quota on {name} refuses pods without it"


@every_overlay
def test_the_role_grants_what_the_launcher_asks_for(overlay):
    (role,) = of_kind(overlay, "Role")
    granted = {
        (verb, group, resource)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    for verb, group, resource, sub in RIGHTS:
        assert (verb, group, f"{resource}/{sub}" if sub else resource) in granted


@every_overlay
def test_the_launcher_reads_its_description_and_finds_what_it_names(overlay, tmp_path):
    maps = {each["metadata"]["name"]: each["data"] for each in of_kind(overlay, "ConfigMap")}
    (tmp_path / "cluster.yaml").write_text(maps["strata-cluster"]["cluster.yaml"])
    found = read_cluster(Settings(cluster=str(tmp_path / "cluster.yaml")))
    assert found.namespace == "strata"
    assert found.env_config_map in maps
    accounts = {each["metadata"]["name"] for each in of_kind(overlay, "ServiceAccount")}
    assert found.service_account in accounts
