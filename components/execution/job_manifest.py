"""From a request to the manifests of its Job: pure functions, so that every Job can be looked at,
validated and compared before a cluster sees it.

A step on one node is a Job of one pod. On several nodes it is an Indexed Job behind a headless
Service; the index is the node's rank, and pod 0 is the master of all. The container runs the very
argv of the laptop: `execute` with the address of the request. One layer owns retries, and it is not
Kubernetes: `backoffLimit` is 0, and `podFailurePolicy` has `FailJob` rules only.
"""

from __future__ import annotations

import re
from typing import Any

from components.contract import Resources
from components.execution.cluster_settings import ClusterSettings
from components.execution.exit_codes import ExitCode
from components.execution.request import StageRequest

MASTER_PORT = 29500
NODE_GONE_SECONDS = 30
"""Time for which a node may be silent before its pod is given up."""
USER = 10001
"""User and group of the process in a pod; the images know no other."""
SCRATCH = "/scratch"
NAME_LENGTH = 63
POD_SUFFIX = len("-00000-abcde")
"""What the Job controller adds to a Job's name: an index, and five characters."""
MANAGER = "strata"
Manifest = dict[str, Any]


def job_name(stage: str, key: str, attempt: int) -> str:
    """Return the name of an attempt's Job: equal for all who submit it, so the API refuses a second
    one.
    """
    tail = f"-{key[:16]}-{attempt}"
    head = re.sub(r"[^a-z0-9]+", "-", stage.lower()).strip("-")
    return f"{head[: NAME_LENGTH - POD_SUFFIX - len(tail)].rstrip('-')}{tail}"


def manifests(request: StageRequest, cluster: ClusterSettings) -> list[Manifest]:
    """Return the Job of a request, and before it the Service of a Job with several nodes."""
    name = job_name(request.stage, request.key, request.attempt)
    job = _job(name, request, cluster)
    if request.resources.nodes == 1:
        return [job]
    return [_service(name, request, cluster), job]


def labels_of(request: StageRequest) -> dict[str, str]:
    """Return the labels of everything that is made for a request."""
    return {
        "app.kubernetes.io/managed-by": MANAGER,
        "app.kubernetes.io/name": "stage",
        "strata/run": _label(request.run),
        "strata/step": _label(request.step),
        "strata/stage": _label(request.stage),
        "strata/attempt": str(request.attempt),
        "strata/key": request.key[:NAME_LENGTH],
    }


def annotations_of(request: StageRequest) -> dict[str, str]:
    """Return what labels cannot hold: whole names, and the address of the request."""
    return {
        "strata/run": request.run,
        "strata/step": request.step,
        "strata/stage": request.stage,
        "strata/key": request.key,
        "strata/attempt": str(request.attempt),
        "strata/request": request.uri,
    }


def _metadata(name: str, request: StageRequest, cluster: ClusterSettings) -> Manifest:
    return {
        "name": name,
        "namespace": cluster.namespace,
        "labels": labels_of(request),
        "annotations": annotations_of(request),
    }


def _service(name: str, request: StageRequest, cluster: ClusterSettings) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(name, request, cluster),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,  # ranks meet before any of them is ready
            "selector": {"batch.kubernetes.io/job-name": name},
            "ports": [{"name": "master", "port": MASTER_PORT, "targetPort": MASTER_PORT}],
        },
    }


def _job(name: str, request: StageRequest, cluster: ClusterSettings) -> Manifest:
    resources = request.resources
    metadata = _metadata(name, request, cluster)
    if cluster.queue:
        metadata["labels"] |= {"kueue.x-k8s.io/queue-name": cluster.queue}
    several = resources.nodes > 1
    spec: Manifest = {
        "backoffLimit": 0,
        "parallelism": resources.nodes,
        "completions": resources.nodes,
        "completionMode": "Indexed" if several else "NonIndexed",
        "activeDeadlineSeconds": max(1, int(resources.timeout_hours * 3600)),
        "ttlSecondsAfterFinished": cluster.ttl_seconds,
        "podFailurePolicy": {"rules": _failure_rules()},
        "template": {
            "metadata": {"labels": labels_of(request), "annotations": annotations_of(request)},
            "spec": _pod(name, request, cluster),
        },
    }
    if cluster.queue:
        spec["suspend"] = True  # Kueue starts it
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _failure_rules() -> list[Manifest]:
    """Fail the Job at the first failed pod, whatever the cause: retries belong to `run_step`."""
    codes = sorted(int(code) for code in ExitCode if code is not ExitCode.DONE)
    return [
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": "stage", "operator": "In", "values": codes},
        },
        {
            "action": "FailJob",
            "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
        },
    ]


def _pod(name: str, request: StageRequest, cluster: ClusterSettings) -> Manifest:
    several = request.resources.nodes > 1
    pod: Manifest = {
        "restartPolicy": "Never",
        "serviceAccountName": cluster.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": cluster.grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(name, request, cluster)],
        "volumes": [
            {"name": "scratch", "emptyDir": {"sizeLimit": f"{cluster.scratch_gb}Gi"}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{cluster.shm_gb}Gi"}},
        ],
    }
    return pod | ({"subdomain": name} if several else {}) | _placement(name, cluster)


def _placement(name: str, cluster: ClusterSettings) -> Manifest:
    gone = [
        {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute"}
        | {"tolerationSeconds": NODE_GONE_SECONDS}
        for what in ("not-ready", "unreachable")
    ]
    placed: Manifest = {"tolerations": gone}
    if cluster.node_selector:
        placed["nodeSelector"] = dict(cluster.node_selector)
    placed["tolerations"] += [
        {field: value for field, value in each.model_dump().items() if value}
        for each in cluster.tolerations
    ]
    if cluster.affinity:
        wanted = [
            {"key": each.key, "operator": each.operator}
            | ({"values": list(each.values)} if each.values else {})
            for each in cluster.affinity
        ]
        terms = {"nodeSelectorTerms": [{"matchExpressions": wanted}]}
        placed["affinity"] = {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}
        }
    if cluster.priority_class:
        placed["priorityClassName"] = cluster.priority_class
    if cluster.topology_spread:
        placed["topologySpreadConstraints"] = [
            {
                "topologyKey": each.topology_key,
                "maxSkew": each.max_skew,
                "whenUnsatisfiable": each.when_unsatisfiable,
                "labelSelector": {"matchLabels": {"batch.kubernetes.io/job-name": name}},
            }
            for each in cluster.topology_spread
        ]
    return placed


def _container(name: str, request: StageRequest, cluster: ClusterSettings) -> Manifest:
    variables = {"STRATA_HOME": f"{SCRATCH}/home", "TMPDIR": SCRATCH, "HOME": SCRATCH}
    if request.resources.nodes > 1:
        variables |= {"MASTER_ADDR": f"{name}-0.{name}", "MASTER_PORT": str(MASTER_PORT)}
    return {
        "name": "stage",
        "image": cluster.image_for_pods(),
        "command": ["python", "-P", "-m", "components.execution.execute"],
        "args": [request.uri],
        "env": [{"name": key, "value": value} for key, value in sorted(variables.items())],
        "envFrom": [
            {"configMapRef": {"name": cluster.env_config_map}},
            {"secretRef": {"name": cluster.env_secret}},
        ],
        "resources": _shares(request.resources, cluster),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "scratch", "mountPath": SCRATCH},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }


def _shares(resources: Resources, cluster: ClusterSettings) -> Manifest:
    """Return requests and limits: equal but for the processor, which a pod may borrow."""
    memory = f"{resources.memory_gb}Gi"
    disk = f"{cluster.scratch_gb}Gi"
    fixed = {"memory": memory, "ephemeral-storage": disk}
    if resources.device == "cuda":
        fixed[cluster.gpu_resource] = str(resources.processes)
    cpu = str(max(1, resources.threads) * resources.processes)
    return {"requests": {"cpu": cpu, **fixed}, "limits": dict(fixed)}


def _label(text: str) -> str:
    """Make a label value of a name: at most 63 characters, letters and digits at both ends."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[-NAME_LENGTH:].strip("-_.")
