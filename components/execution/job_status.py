"""What a Job and its pods say about an attempt: whether it waits, runs or is over, and why.

Pure functions of what the API server returned, as plain dictionaries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from components.execution.exit_codes import ExitCode, describe
from components.execution.launch import Ended, Reason, Running, Status

Object = dict[str, Any]

NO_POD = Running("its pod is not made yet")

CANNOT_START = {
    "ErrImagePull": Reason.IMAGE_PULL,
    "ImagePullBackOff": Reason.IMAGE_PULL,
    "InvalidImageName": Reason.IMAGE_PULL,
    "ErrImageNeverPull": Reason.IMAGE_PULL,
    "CreateContainerConfigError": Reason.REFUSED,
    "CreateContainerError": Reason.REFUSED,
    "RunContainerError": Reason.REFUSED,
}
"""Reasons for which a container waits in vain."""
DISRUPTIONS = {
    "PreemptionByScheduler": Reason.PREEMPTED,
    "EvictionByEvictionAPI": Reason.EVICTED,
    "TerminationByKubelet": Reason.EVICTED,
    "DeletionByTaintManager": Reason.NODE_LOST,
    "DeletionByPodGC": Reason.NODE_LOST,
}
"""Reasons of the pod condition `DisruptionTarget`."""


def job_status(job: Object, pods: Sequence[Object], now: float, start_seconds: float) -> Status:
    """Tell what became of an attempt.

    `now` is in UNIX seconds; a pod that cannot start is over `start_seconds` after it got its node.
    """
    held = conditions(job)
    if "Complete" in held or _all_succeeded(job, pods):
        return Ended(ExitCode.DONE, "", Reason.COMPLETED)
    if "Failed" in held:
        return _failed(held["Failed"], pods)
    lost = _lost_with_its_node(pods)
    if lost is not None:
        return lost
    if job["spec"].get("suspend"):
        return Running(_queued(job, held))
    return _starting(pods, now, start_seconds)


def conditions(thing: Object) -> dict[str, Object]:
    """Return the conditions that hold, by type."""
    found = thing.get("status", {}).get("conditions") or []
    return {each["type"]: each for each in found if each.get("status") == "True"}


def pod_index(pod: Object) -> int:
    """Return which node of the step a pod is; 0 for the only one."""
    named = pod["metadata"].get("annotations") or {}
    return int(named.get("batch.kubernetes.io/job-completion-index", 0))


def pod_end(pod: Object) -> Ended | None:
    """Return how a pod ended; None while it has not."""
    status = pod.get("status", {})
    if status.get("phase") not in {"Failed", "Succeeded"}:
        return None
    terminated = _container_state(pod).get("terminated") or {}
    code = int(terminated.get("exitCode", ExitCode.KILLED))
    disrupted = conditions(pod).get("DisruptionTarget")
    message = status.get("message") or terminated.get("message") or ""
    if status.get("reason") == "Evicted":
        return Ended(ExitCode.KILLED, f"evicted: {message}".strip(": "), Reason.EVICTED)
    if status.get("reason") in {"NodeLost", "NodeShutdown", "Terminated"} and disrupted is None:
        return Ended(ExitCode.KILLED, f"its node went away: {message}", Reason.NODE_LOST)
    if disrupted is not None:
        return _disrupted(disrupted, code)
    if terminated.get("reason") == "OOMKilled":
        cause = "out of memory: it used more than its limit (resources.STEP.memory_gb)"
        return Ended(ExitCode.KILLED, cause, Reason.OUT_OF_MEMORY)
    if status.get("reason") == "DeadlineExceeded":
        return Ended(code, "ran longer than its time limit", Reason.DEADLINE)
    return Ended(code, describe(code))


_CONSEQUENCES = (Reason.STOPPED, Reason.SERVICE_AWAY)
"""Ends of a pod that another pod's end may have caused: asked to stop, or its peer went away."""


def first_end(pods: Iterable[Object]) -> Ended | None:
    """Return the end that decides: the earliest failure that is no mere consequence of another.

    When one pod of a step fails, the others are asked to stop.
    """
    ends = [
        (end.reason in _CONSEQUENCES, _finished(pod), pod_index(pod), end)
        for pod in pods
        if (end := pod_end(pod)) is not None and end.code != ExitCode.DONE
    ]
    return min(ends, key=lambda each: each[:3])[3] if ends else None


def _all_succeeded(job: Object, pods: Sequence[Object]) -> bool:
    """Tell whether every pod of a Job has succeeded; its controller says so most of a second later.

    Measured on Kubernetes 1.36 by benchmarks/next_job.py.
    """
    succeeded = {pod_index(p) for p in pods if (end := pod_end(p)) and end.code == ExitCode.DONE}
    return len(succeeded) == int(job["spec"].get("completions") or 1)


def _failed(condition: Object, pods: Sequence[Object]) -> Ended:
    if condition.get("reason") == "DeadlineExceeded":
        return Ended(ExitCode.KILLED, "ran longer than its time limit", Reason.DEADLINE)
    end = first_end(pods)
    if end is not None:
        return end
    cause = condition.get("message") or condition.get("reason") or "its Job failed"
    return Ended(ExitCode.KILLED, cause, Reason.LOST)


def _disrupted(condition: Object, code: int) -> Ended:
    reason = DISRUPTIONS.get(condition.get("reason", ""), Reason.EVICTED)
    cause = f"{reason.value}: {condition.get('message') or condition.get('reason')}"
    return Ended(code if code == ExitCode.PREEMPTED else ExitCode.KILLED, cause, reason)


def _lost_with_its_node(pods: Sequence[Object]) -> Ended | None:
    """Return the end of a pod that was given up with its node: nobody is left to say it ended."""
    for pod in pods:
        condition = conditions(pod).get("DisruptionTarget") or {}
        if condition.get("reason") in {"DeletionByTaintManager", "DeletionByPodGC"}:
            return _disrupted(condition, ExitCode.KILLED)
    return None


def _queued(job: Object, held: dict[str, Object]) -> str:
    queue = (job["metadata"].get("labels") or {}).get("kueue.x-k8s.io/queue-name")
    if queue is None:
        return "suspended"
    said = held.get("Suspended", {}).get("message", "")
    return f"queued by Kueue ({queue})" + (f": {said}" if "position" in said else "")


def _starting(pods: Sequence[Object], now: float, start_seconds: float) -> Status:
    if not pods:
        return NO_POD
    for pod in sorted(pods, key=pod_index):
        if pod.get("status", {}).get("phase") != "Pending":
            continue
        waiting = _container_state(pod).get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason in CANNOT_START:
            cause = f"{reason}: {waiting.get('message') or 'the pod cannot start'}"
            if now - _placed(pod) < start_seconds:
                return Running(cause)
            return Ended(ExitCode.ENVIRONMENT, cause, CANNOT_START[reason])
        return Running(_unscheduled(pod) or "its pod is starting")
    return Running()


def _unscheduled(pod: Object) -> str:
    for each in pod.get("status", {}).get("conditions") or []:
        if each["type"] == "PodScheduled" and each.get("status") == "False":
            return f"unschedulable: {each.get('message') or each.get('reason')}"
    return ""


def _placed(pod: Object) -> float:
    """Return since when a pod has a node, in UNIX seconds: it may have waited long for one."""
    placed = conditions(pod).get("PodScheduled") or {}
    return seconds(placed.get("lastTransitionTime") or pod["metadata"]["creationTimestamp"])


def _container_state(pod: Object) -> Object:
    statuses = pod.get("status", {}).get("containerStatuses") or [{}]
    return statuses[0].get("state") or {}


def _finished(pod: Object) -> str:
    terminated = _container_state(pod).get("terminated") or {}
    return terminated.get("finishedAt") or pod["metadata"].get("creationTimestamp", "")


def seconds(stamp: str) -> float:
    """Return a time of the API in UNIX seconds."""
    return datetime.fromisoformat(stamp).timestamp()
