"""What a control plane does by itself: run Jobs, place pods, give up silent nodes."""

from __future__ import annotations

import copy
import datetime
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.api_server.objects import (
    FOREGROUND,
    Object,
    Objects,
    Refused,
    condition,
    owners,
    stamp,
)

UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "m": 1e-3, "k": 1e3, "M": 1e6}
ENDED = {"Succeeded", "Failed"}
TRACKING = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass
class Tally:
    """Hold which pods of a Job have been counted; a successful one with its index."""

    failed: set[str] = field(default_factory=set)
    succeeded: dict[str, int | None] = field(default_factory=dict)


@dataclass
class Clock:
    """Hold the times that a cluster waits, in seconds; shorter than a real one's."""

    node_grace: float = 5.0
    """Age of a lease after which its node counts as not ready."""
    longest_toleration: float = 3.0
    """Cut of `tolerationSeconds`."""


class Controllers:
    """Look at everything ten times a second and do what is due."""

    def __init__(self, objects: Objects, clock: Clock) -> None:
        self._objects = objects
        self._clock = clock
        self._closed = threading.Event()
        self._refused: dict[str, float] = {}
        self._tallies: dict[str, Tally] = {}
        self._unplaced: dict[str, str] = {}
        self._thread = threading.Thread(target=self._work, name="controllers", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._closed.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._closed.wait(0.1):
            with self._objects.lock:
                for namespace in list(self._objects.all("namespaces")):
                    self._namespace(namespace)
                for quota in list(self._objects.all("resourcequotas")):
                    self._quota(quota)
                for job in list(self._objects.all("jobs")):
                    self._job(job)
                for node in list(self._objects.all("nodes")):
                    self._node(node)
                for pod in list(self._objects.all("pods")):
                    self._forget_orphan(pod)
                    self._place(pod)

    # Namespaces and quotas

    def _namespace(self, namespace: Object) -> None:
        metadata = namespace["metadata"]
        if not metadata.get("deletionTimestamp"):
            return
        for plural, thing in self._objects.inside(metadata["name"]):
            if not thing["metadata"].get("deletionTimestamp"):
                self._objects.delete(plural, thing)
        if not self._objects.inside(metadata["name"]):
            self._objects.let_go("namespaces", namespace, "kubernetes")

    def _quota(self, quota: Object) -> None:
        hard = quota["spec"]["hard"]
        used = usage(self._objects, quota["metadata"]["namespace"])
        told = {name: f"{used.get(name, 0):g}" for name in hard}
        self._objects.change("resourcequotas", quota, status={"hard": hard, "used": told})

    # Jobs

    def _job(self, job: Object) -> None:
        metadata, spec = job["metadata"], job["spec"]
        namespace = metadata["namespace"]
        pods = [p for p in self._objects.all("pods", namespace) if metadata["uid"] in owners(p)]
        if metadata.get("deletionTimestamp"):
            for pod in pods:
                self._objects.let_go("pods", pod, TRACKING)
            if not pods:
                self._objects.let_go("jobs", job, FOREGROUND)
            return
        if condition(job, "Complete") or condition(job, "Failed"):
            self._expire(job)
            return
        if spec.get("suspend"):
            for pod in pods:
                self._drop(pod)
                if _is_over(pod):
                    self._objects.let_go("pods", pod, TRACKING)
            self._say(job, "Suspended", "JobSuspended", "Job suspended", active=0)
            return
        if condition(job, "Suspended"):
            self._say(job, "Suspended", "JobResumed", "Job resumed", "False", startTime=stamp())
        elif "startTime" not in job.get("status", {}):
            self._objects.change("jobs", job, status={"startTime": stamp()})
        self._advance(self._objects.get("jobs", namespace, metadata["name"]), pods)

    def _advance(self, job: Object, pods: list[Object]) -> None:
        spec = job["spec"]
        active = [p for p in pods if not _is_over(p)]
        verdict = self._verdict(job, pods)
        tally = self._count(job, pods)
        if verdict is None and len(tally.failed) > spec.get("backoffLimit", 6):
            message = "Job has reached the specified backoff limit"
            verdict = {"reason": "BackoffLimitExceeded", "message": message}
        if verdict is not None:
            self._fail(job, verdict, active, len(tally.failed))
            return
        if len(tally.succeeded) >= spec.get("completions", 1):
            self._tell_counts(job, tally, active, completionTime=stamp())
            self._say(job, "SuccessCriteriaMet", "CompletionsReached", "")
            self._say(job, "Complete", "CompletionsReached", "Reached expected number of pods")
            return
        self._make_pods(job, active, [p for p in pods if _phase(p) == "Succeeded"])
        self._tell_counts(job, tally, active, failed=len(tally.failed))

    def _verdict(self, job: Object, pods: list[Object]) -> Object | None:
        """Return why a Job must fail, whatever its retries; None where it need not."""
        known = condition(job, "FailureTarget")
        if known is not None:
            return known
        deadline = job["spec"].get("activeDeadlineSeconds")
        if deadline and time.time() - _time(job["status"]["startTime"]) > deadline:
            message = "Job was active longer than specified deadline"
            return {"reason": "DeadlineExceeded", "message": message}
        return _policy(job["spec"], [p for p in pods if _phase(p) == "Failed"])

    def _count(self, job: Object, pods: list[Object]) -> Tally:
        """Count the pods that are over, each once, and let them go."""
        tally = self._tallies.setdefault(job["metadata"]["uid"], Tally())
        for pod in filter(_is_over, pods):
            if TRACKING in (pod["metadata"].get("finalizers") or []):
                uid = pod["metadata"]["uid"]
                if _phase(pod) == "Succeeded":
                    tally.succeeded[uid] = _index(pod)
                else:
                    tally.failed.add(uid)
                self._objects.let_go("pods", pod, TRACKING)
        return tally

    def _tell_counts(self, job: Object, tally: Tally, active: list[Object], **counts: Any) -> None:
        counts["active"] = len(active)
        counts["succeeded"] = len(tally.succeeded)
        counts["ready"] = sum(condition(p, "Ready") is not None for p in active)
        if job["spec"].get("completionMode") == "Indexed":
            counts["completedIndexes"] = ranges(tally.succeeded.values())
        self._objects.change("jobs", job, status=counts)

    def _fail(self, job: Object, verdict: Object, active: list[Object], failed: int) -> None:
        job = self._say(job, "FailureTarget", verdict["reason"], verdict["message"])
        for pod in active:
            self._drop(pod)
        if not active:
            counts = {"failed": failed, "active": 0, "ready": 0}
            self._say(job, "Failed", verdict["reason"], verdict["message"], **counts)

    def _forget_orphan(self, pod: Object) -> None:
        """Let a pod go whose Job has gone."""
        if TRACKING in (pod["metadata"].get("finalizers") or []):
            namespace = pod["metadata"]["namespace"]
            jobs = {job["metadata"]["uid"] for job in self._objects.all("jobs", namespace)}
            if not owners(pod) & jobs:
                self._objects.let_go("pods", pod, TRACKING)

    def _make_pods(self, job: Object, active: list[Object], succeeded: list[Object]) -> None:
        spec = job["spec"]
        if time.time() < self._refused.get(job["metadata"]["uid"], 0.0):
            return
        if spec.get("completionMode") == "Indexed":
            taken = {_index(p) for p in (*active, *succeeded)}
            wanted: list[int | None] = [i for i in range(spec["completions"]) if i not in taken]
        else:
            missing = spec.get("completions", 1) - len(succeeded) - len(active)
            wanted = [None] * max(0, missing)
        for index in wanted[: max(0, spec.get("parallelism", 1) - len(active))]:
            self._make_pod(job, index)

    def _make_pod(self, job: Object, index: int | None) -> None:
        metadata = job["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        template = job["spec"]["template"]
        labels = {
            **(template.get("metadata", {}).get("labels") or {}),
            "job-name": name,
            "batch.kubernetes.io/job-name": name,
            "controller-uid": metadata["uid"],
            "batch.kubernetes.io/controller-uid": metadata["uid"],
        }
        annotations = dict(template.get("metadata", {}).get("annotations") or {})
        spec = copy.deepcopy(template["spec"])
        prefix = f"{name}-"
        if index is not None:
            annotations[INDEX] = labels[INDEX] = str(index)
            spec["hostname"] = f"{name}-{index}"
            prefix = f"{name}-{index}-"
            source = {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}
            for container in spec["containers"]:
                container.setdefault("env", []).append(
                    {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}
                )
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": metadata["uid"]}
        body = {
            "metadata": {
                "generateName": prefix,
                "labels": labels,
                "annotations": annotations,
                "finalizers": [TRACKING],
                "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
            },
            "spec": spec,
            "status": {"phase": "Pending"},
        }
        try:
            refuse_over_quota(self._objects, namespace, spec, prefix)
            self._objects.create("pods", namespace, body)
        except Refused as error:
            self._refused[metadata["uid"]] = time.time() + 1.0
            self._event(job, "FailedCreate", f"Error creating: {error}")

    def _expire(self, job: Object) -> None:
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        ended = condition(job, "Complete") or condition(job, "Failed")
        if ttl is not None and ended and time.time() > _time(ended["lastTransitionTime"]) + ttl:
            self._objects.delete("jobs", job, policy="Foreground")

    def _say(
        self,
        job: Object,
        kind: str,
        reason: str,
        message: str,
        holds: str = "True",
        **counts: Any,
    ) -> Object:
        if holds == "True" and condition(job, kind):
            return job
        said = {
            "type": kind,
            "status": holds,
            "reason": reason,
            "message": message,
            "lastTransitionTime": stamp(),
        }
        return self._objects.change("jobs", job, status={"conditions": [said], **counts})

    def _drop(self, pod: Object) -> None:
        if not pod["metadata"].get("deletionTimestamp") and _phase(pod) not in ENDED:
            self._objects.delete("pods", pod)

    def _event(self, about: Object, reason: str, message: str) -> None:
        metadata = about["metadata"]
        body = {
            "metadata": {"generateName": f"{metadata['name']}."},
            "involvedObject": {
                "kind": about["kind"],
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "reason": reason,
            "message": message,
            "type": "Warning",
            "lastTimestamp": stamp(),
        }
        self._objects.create("events", metadata["namespace"], body)

    # Nodes and places

    def _node(self, node: Object) -> None:
        name = node["metadata"]["name"]
        try:
            lease = self._objects.get("leases", "kube-node-lease", name)
        except Refused:
            return
        silent = time.time() - _time(lease["spec"]["renewTime"]) > self._clock.node_grace
        taints = node.get("spec", {}).get("taints") or []
        known = [t for t in taints if t["key"] == "node.kubernetes.io/unreachable"]
        if silent and not known:
            taint = {
                "key": "node.kubernetes.io/unreachable",
                "effect": "NoExecute",
                "timeAdded": stamp(),
            }
            gone = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}
            self._objects.change(
                "nodes", node, spec={"taints": [*taints, taint]}, status={"conditions": [gone]}
            )
        elif silent:
            for pod in list(self._objects.all("pods")):
                if pod["spec"].get("nodeName") == name:
                    self._give_up(pod, _time(known[0]["timeAdded"]))
        elif known:
            rest = [t for t in taints if t not in known]
            self._objects.change("nodes", node, spec={"taints": rest})

    def _give_up(self, pod: Object, since: float) -> None:
        if pod["metadata"].get("deletionTimestamp") or _phase(pod) in ENDED:
            return
        tolerated = [
            float(each.get("tolerationSeconds", 300))
            for each in pod["spec"].get("tolerations") or []
            if each.get("key") == "node.kubernetes.io/unreachable"
        ]
        patience = min([*tolerated, self._clock.longest_toleration])
        if time.time() - since < patience:
            return
        said = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": stamp(),
        }
        pod = self._objects.change("pods", pod, status={"conditions": [said]})
        self._objects.delete("pods", pod)

    def _place(self, pod: Object) -> None:
        if pod["spec"].get("nodeName") or pod["metadata"].get("deletionTimestamp"):
            return
        nodes = list(self._objects.all("nodes"))
        lacks: dict[str, int] = {}
        for node in nodes:
            lack = self._lack(node, pod)
            if not lack:
                self.bind(pod, node["metadata"]["name"])
                return
            lacks[lack] = lacks.get(lack, 0) + 1
        told = ", ".join(f"{count} {lack}" for lack, count in sorted(lacks.items()))
        message = f"0/{len(nodes)} nodes are available: {told}."
        if not nodes:
            message = "no nodes available to schedule pods"
        said = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
        }
        self._objects.change("pods", pod, status={"conditions": [said]})
        if self._unplaced.get(pod["metadata"]["uid"]) != message:
            self._unplaced[pod["metadata"]["uid"]] = message
            self._event(pod, "FailedScheduling", message)

    def bind(self, pod: Object, node: str) -> None:
        """Give a pod to a node."""
        said = {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp()}
        self._objects.change("pods", pod, spec={"nodeName": node}, status={"conditions": [said]})

    def evict(self, pod: Object) -> None:
        """Delete a pod for its node's sake."""
        said = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
            "lastTransitionTime": stamp(),
        }
        pod = self._objects.change("pods", pod, status={"conditions": [said]})
        self._objects.delete("pods", pod)

    def _lack(self, node: Object, pod: Object) -> str:
        """Return why a pod cannot go to a node; empty where it can."""
        if condition(node, "Ready") is None:
            return "node(s) were not ready"
        tolerated = {each.get("key") for each in pod["spec"].get("tolerations") or []}
        taints = node.get("spec", {}).get("taints") or []
        if any(t["key"] not in tolerated or "unreachable" in t["key"] for t in taints):
            return "node(s) had untolerated taint"
        labels = node["metadata"].get("labels") or {}
        selector = pod["spec"].get("nodeSelector") or {}
        if any(labels.get(name) != value for name, value in selector.items()):
            return "node(s) didn't match Pod's node affinity/selector"
        free = {name: quantity(value) for name, value in node["status"]["allocatable"].items()}
        for other in self._objects.all("pods"):
            here = other["spec"].get("nodeName") == node["metadata"]["name"]
            if here and _phase(other) not in ENDED:
                for name, value in requests(other["spec"]).items():
                    free[name] = free.get(name, 0.0) - value
        for name, value in requests(pod["spec"]).items():
            if value > free.get(name, 0.0):
                return f"Insufficient {name}"
        return ""


def requests(spec: Object) -> dict[str, float]:
    """Return what a pod asks for, summed over its containers."""
    total: dict[str, float] = {}
    for container in spec["containers"]:
        shares = container.get("resources") or {}
        asked = {**(shares.get("limits") or {}), **(shares.get("requests") or {})}
        for name, value in asked.items():
            total[name] = total.get(name, 0.0) + quantity(value)
    return total


def refuse_over_quota(objects: Objects, namespace: str, spec: Object, name: str) -> None:
    """Raise Refused 403 where a pod would exceed a quota of its namespace."""
    used = usage(objects, namespace)
    asked = _share(spec)
    for quota in objects.all("resourcequotas", namespace):
        for key, limit in quota["spec"]["hard"].items():
            if key in asked and used.get(key, 0.0) + asked[key] > quantity(limit):
                raise Refused(
                    403,
                    "Forbidden",
                    f'pods "{name}" is forbidden: exceeded quota: {quota["metadata"]["name"]}, '
                    f"requested: {key}={asked[key]:g}, used: {key}={used.get(key, 0.0):g}, "
                    f"limited: {key}={limit}",
                )


def usage(objects: Objects, namespace: str) -> dict[str, float]:
    """Return what the pods of a namespace take of its quotas."""
    used: dict[str, float] = {}
    for pod in objects.all("pods", namespace):
        if _phase(pod) not in ENDED:
            for key, value in _share(pod["spec"]).items():
                used[key] = used.get(key, 0.0) + value
    return used


def _share(spec: Object) -> dict[str, float]:
    return {"pods": 1.0, **{f"requests.{k}": v for k, v in requests(spec).items()}}


def ranges(indices: Iterable[int | None]) -> str:
    """Write indices as a Job's status does: `0,1,3-5`."""
    runs: list[list[int]] = []
    for index in sorted(i for i in indices if i is not None):
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(
        f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs
    )


def quantity(text: str | float) -> float:
    """Read a quantity such as `500m` or `2Gi`."""
    text = str(text)
    for unit, factor in UNITS.items():
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    return float(text)


def _policy(spec: Object, failed: list[Object]) -> Object | None:
    """Return the verdict of the first `FailJob` rule that fits a failed pod."""
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or []:
        for pod in failed:
            told = _rule_fits(rule, pod)
            if told and rule["action"] == "FailJob":
                return {"reason": "PodFailurePolicy", "message": told}
    return None


def _rule_fits(rule: Object, pod: Object) -> str:
    name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    if "onExitCodes" in rule:
        asked = rule["onExitCodes"]
        statuses = pod.get("status", {}).get("containerStatuses") or []
        for status in statuses:
            code = (status["state"].get("terminated") or {}).get("exitCode", 0)
            if code and (code in asked["values"]) == (asked["operator"] == "In"):
                return f"Container {status['name']} for pod {name} failed with exit code {code}"
        return ""
    for asked in rule.get("onPodConditions") or []:
        if condition(pod, asked["type"]):
            return f"Pod {name} has condition {asked['type']}"
    return ""


def _phase(pod: Object) -> str:
    return pod.get("status", {}).get("phase", "Pending")


def _is_over(pod: Object) -> bool:
    """Tell whether a pod has ended, or has gone but for its finalizers."""
    gone = pod["metadata"].get("deletionGracePeriodSeconds") == 0
    return _phase(pod) in ENDED or gone


def _index(pod: Object) -> int | None:
    index = pod["metadata"].get("annotations", {}).get(INDEX)
    return None if index is None else int(index)


def _time(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()
