"""The launcher of a cluster: an attempt is a Job.

The Job's name is made of stage, key and attempt, so the API server's 409 is the lock: who comes
second adopts what is there. What happens is learnt by list and watch, and what cannot be seen is
`Unknown` and left alone. An orchestrator that ends leaves its Jobs running; the next one follows
them.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.artifacts.objects import ObjectStore
from components.artifacts.store import Attempt
from components.contract import EnvironmentMissing, TryAgain
from components.execution.cluster_api import AlreadyThere, ClusterApi, Gone, Object, is_full_for_now
from components.execution.cluster_settings import ClusterSettings
from components.execution.exit_codes import ExitCode
from components.execution.job_manifest import annotations_of, job_name, manifests
from components.execution.job_status import NO_POD, conditions, job_status, seconds
from components.execution.launch import (
    Ended,
    Handle,
    Reason,
    Running,
    Status,
    Unknown,
    cause,
)
from components.execution.pod_logs import PodLogs
from components.execution.request import StageRequest

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
LOG_SECONDS = 10.0
"""Longest wait for the rest of a log after its pod has ended."""
REFUSAL_SECONDS = 5.0
"""Age of a Job without pods after which its events are read."""


@dataclass
class _Seen:
    """Hold what list and watch have shown of one kind, by name."""

    objects: dict[str, Object] = field(default_factory=dict[str, Object])
    visible: bool = False


class KubernetesLauncher:
    """Start attempts as Jobs of one namespace."""

    def __init__(self, cluster: ClusterSettings, objects: ObjectStore) -> None:
        self._cluster = cluster
        self._objects = objects
        self._api = ClusterApi(cluster)
        self._seen = {"jobs": _Seen(), "pods": _Seen()}
        self._ended: dict[Handle, Ended] = {}
        self._cancelled: dict[Handle, float] = {}
        self._change = threading.Condition()
        self._closed = threading.Event()
        self._logs = PodLogs(self._api, objects)
        self._watching = False

    def submit(self, request: StageRequest) -> Handle:
        """Create the attempt's Job, or adopt the one that is there.

        Raises BadInput, EnvironmentMissing or TryAgain with the cause; nothing half-made is left.
        """
        handle = Handle(request.stage, request.key, request.attempt)
        *services, job = manifests(request, self._cluster)
        name = job["metadata"]["name"]
        made: list[str] = []
        try:
            for service in services:
                made += [name] if self._create(service) else []
            created = self._create(job) or self._adopt(name, request)
            for _ in services:
                self._api.own_service(name, created)
        except BaseException:
            for service in made:
                if self._job_is_absent(name):
                    self._api.delete_service(service)
            raise
        self._watch()
        return handle

    def find(self, stage: str, key: str, attempt: int) -> Handle | None:
        """Return the handle of an attempt whose Job is there and has not ended."""
        self._watch()
        handle = Handle(stage, key, attempt)
        if self._api.job(job_name(stage, key, attempt)) is None:
            return None
        return None if isinstance(self.status(handle), Ended) else handle

    def handles(self) -> list[Handle]:
        """Return the attempts of all our Jobs in the namespace."""
        jobs, _ = self._api.list("jobs")
        named = [job["metadata"].get("annotations") or {} for job in jobs]
        return [
            Handle(each["strata/stage"], each["strata/key"], int(each["strata/attempt"]))
            for each in named
            if {"strata/stage", "strata/key", "strata/attempt"} <= set(each)
        ]

    def status(self, handle: Handle) -> Status:
        """Tell whether the attempt runs; what cannot be seen is Unknown."""
        if handle in self._ended:
            return self._ended[handle]
        if not all(seen.visible for seen in self._seen.values()):
            return Unknown()
        try:
            return self._look(handle, job_name(handle.stage, handle.key, handle.attempt))
        except TryAgain:  # the cluster or the store is away
            return Unknown()

    def wait(self, handle: Handle, timeout: float) -> Status:
        """Return the status, after `timeout` seconds or as soon as the attempt is over."""
        deadline = time.monotonic() + timeout
        while True:
            status = self.status(handle)
            left = deadline - time.monotonic()
            if isinstance(status, Ended) or left <= 0:
                return status
            with self._change:
                self._change.wait(min(left, 1.0))

    def cancel(self, handle: Handle) -> None:
        """Delete the Job: its pods get SIGTERM and their grace period; asked again after that time,
        they are ended.
        """
        name = job_name(handle.stage, handle.key, handle.attempt)
        first = self._cancelled.setdefault(handle, time.monotonic())
        overdue = time.monotonic() - first > self._cluster.grace_seconds
        job = self._seen["jobs"].objects.get(name)
        if not overdue and job is not None and job["metadata"].get("deletionTimestamp"):
            return
        try:
            self._api.delete_job(name, grace_seconds=0 if overdue else None)
        except TryAgain:
            return  # it is asked again

    def logs(self, handle: Handle) -> Iterator[str]:
        """Yield the lines the attempt has printed so far."""
        data = self._objects.read(f"{self._attempt(handle).name}/log.txt") or b""
        yield from data.decode("utf-8", "replace").splitlines()

    def close(self) -> None:
        """Stop watching. Jobs that still run are left alone: another orchestrator follows them."""
        self._closed.set()
        self._logs.close()
        with self._change:
            self._change.notify_all()

    def _look(self, handle: Handle, name: str) -> Status:
        job = self._seen["jobs"].objects.get(name) or self._api.job(name)
        if job is None:
            gone = Ended(ExitCode.KILLED, "its Job was deleted", Reason.DELETED)
            return self._settle(handle, self._own_end(handle) or gone, self._pods(name))
        pods = self._pods(name)
        status = job_status(job, pods, time.time(), self._cluster.start_seconds)
        if isinstance(status, Ended):  # what is seen of pods may be older than what is of Jobs
            pods = self._pods(name, self._api.pods_of(name))
            status = job_status(job, pods, time.time(), self._cluster.start_seconds)
        elif status == NO_POD:
            status = self._refused(job)
        if not isinstance(status, Ended):
            return status
        if status.reason is Reason.LOST:  # its pod is gone, and with it what the pod would tell
            status = self._own_end(handle) or status
        return self._settle(handle, status, pods)

    def _create(self, manifest: Object) -> Object | None:
        """Make an object; None where one of its name is there."""
        try:
            created = self._api.create(manifest)
        except AlreadyThere:
            return None
        if created["kind"] == "Job":
            self._note("jobs", "ADDED", created)  # what was seen may be one of the same name before
        return created

    def _adopt(self, name: str, request: StageRequest) -> Object:
        """Return the Job of this name, which must be the very attempt that is asked for.

        One that is over and was another run's attempt of the same number is left from a store that
        was erased since: it makes room, and TryAgain says so.
        """
        job = self._api.job(name)
        if job is None:
            raise TryAgain(f"Job {name} was there and is gone; the same command tries again")
        named = job["metadata"].get("annotations") or {}
        wanted = annotations_of(request)
        if all(named.get(each) == value for each, value in wanted.items()):
            return job
        of_this_store = named.get("strata/request") == wanted["strata/request"]
        if of_this_store and _is_over(job):
            self._api.delete_job(name)
            self._api.delete_service(name)
            raise TryAgain(f"Job {name} was left from before the store was erased: it is deleted")
        whose = f" but of run {named['strata/run']}" if "strata/run" in named else ""
        raise EnvironmentMissing(
            f"a Job {name} is there and is not ours{whose}, for "
            f"{named.get('strata/request', 'something else')}: delete it, or use another namespace"
        )

    def _job_is_absent(self, name: str) -> bool:
        try:
            return self._api.job(name) is None
        except Exception:  # unseen is not absent
            return False

    def _attempt(self, handle: Handle) -> Attempt:
        return Attempt(self._objects, handle.stage, handle.key, handle.attempt)

    def _pods(self, job: str, newer: Sequence[Object] = ()) -> list[Object]:
        """Return the pods of a Job: those that were seen, as `newer` shows them."""
        seen = [pod for pod in list(self._seen["pods"].objects.values()) if _job_of(pod) == job]
        return list({pod["metadata"]["name"]: pod for pod in (*seen, *newer)}.values())

    def _own_end(self, handle: Handle) -> Ended | None:
        """Return how an attempt ended by its own account in the store; None where it left none."""
        attempt = self._attempt(handle)
        result = attempt.record("result")
        if result is None:
            return None
        code = int(result["code"])
        return Ended(code, cause(attempt, code) if code else "")

    def _refused(self, job: Object) -> Status:
        """Tell why a Job has no pod yet; one whose pods are refused for long is over."""
        started = job.get("status", {}).get("startTime") or job["metadata"]["creationTimestamp"]
        age = time.time() - seconds(started)
        if age < min(REFUSAL_SECONDS, self._cluster.start_seconds):
            return NO_POD
        said = self._api.refusals(job["metadata"]["name"])
        if not said:
            return NO_POD
        if age < self._cluster.start_seconds or is_full_for_now(said[-1]):
            return Running(said[-1])
        return Ended(ExitCode.ENVIRONMENT, f"its pod is refused: {said[-1]}", Reason.REFUSED)

    def _settle(self, handle: Handle, ended: Ended, pods: Sequence[Object]) -> Ended:
        """Keep an end for good: wait for the log, name the stage's own cause, free what is held."""
        name = job_name(handle.stage, handle.key, handle.attempt)
        self._logs.finish(pods, LOG_SECONDS)
        if ended.kind is None and ended.code != ExitCode.DONE:
            ended = Ended(ended.code, cause(self._attempt(handle), ended.code))
        job = self._seen["jobs"].objects.get(name)
        if job is not None and ended.code != ExitCode.DONE and not _is_over(job):
            self._api.delete_job(name)
        self._ended[handle] = ended
        return ended

    def _watch(self) -> None:
        """Begin to list and watch, once, and wait for the first list."""
        with self._change:
            if not self._watching:
                self._watching = True
                for kind in self._seen:
                    threading.Thread(
                        target=self._follow, args=(kind,), name=f"watch-{kind}", daemon=True
                    ).start()
            deadline = time.monotonic() + LOG_SECONDS
            while not all(seen.visible for seen in self._seen.values()):
                if time.monotonic() > deadline or self._closed.is_set():
                    return
                self._change.wait(0.2)

    def _follow(self, kind: str) -> None:
        """Keep what is seen of a kind true, for as long as it takes."""
        failures = 0
        version = ""
        while not self._closed.is_set():
            try:
                version = version or self._list(kind)
                failures = 0
                version = self._watch_from(kind, version)
            except Gone:
                version = ""
            except Exception:  # away, refused or cut off: nothing is seen until it is listed again
                version = ""
                self._seen[kind].visible = False
                failures += 1
                longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures, 10))
                self._closed.wait(random.uniform(0, longest))

    def _watch_from(self, kind: str, version: str) -> str:
        """Note what happens until the API ends the watch; return how far that went."""
        for event, seen in self._api.watch(kind, version):
            version = seen["metadata"]["resourceVersion"]
            self._note(kind, event, seen)
            if self._closed.is_set():
                break
        return version

    def _list(self, kind: str) -> str:
        items, version = self._api.list(kind)
        with self._change:
            before = self._seen[kind].objects
            self._seen[kind].objects = {item["metadata"]["name"]: item for item in items}
            self._seen[kind].visible = True
            self._change.notify_all()
        if kind == "pods":
            for name in before.keys() - self._seen[kind].objects.keys():
                self._logs.forget(name)
            for item in items:
                self._logs.follow(item)
        return version

    def _note(self, kind: str, event: str, seen: Object) -> None:
        if event == "BOOKMARK":
            return
        name = seen["metadata"]["name"]
        with self._change:
            if event == "DELETED":
                self._seen[kind].objects.pop(name, None)
            else:
                self._seen[kind].objects[name] = seen
            self._change.notify_all()
        if kind == "pods" and event == "DELETED":
            self._logs.forget(name)
        elif kind == "pods":
            self._logs.follow(seen)


def _is_over(job: Object) -> bool:
    return bool({"Complete", "Failed"} & set(conditions(job)))


def _job_of(pod: Object) -> str | None:
    named: dict[str, Any] = pod["metadata"].get("labels") or {}
    return named.get("batch.kubernetes.io/job-name") or named.get("job-name")
