"""Bring what pods print into the store while they run, before anything of them is deleted."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from components.artifacts.objects import ObjectStore
from components.artifacts.store import attempt_name
from components.contract import StageFailure, TryAgain
from components.execution.cluster_api import ClusterApi, Object
from components.execution.job_status import pod_index

WRITE_SECONDS = 2.0
AGAIN_SECONDS = 1.0
MOST_BYTES = 8_000_000
"""Newest bytes of a log that are kept."""


class PodLogs:
    """Follow the logs of pods, each in a thread of its own, into the attempts' `log.txt`.

    Node 0 of a step writes `log.txt`, node n `log-<n>.txt`.
    """

    def __init__(self, api: ClusterApi, objects: ObjectStore) -> None:
        self._api = api
        self._objects = objects
        self._threads: dict[str, threading.Thread] = {}
        self._ended: set[str] = set()
        self._gone: set[str] = set()
        self._closed = threading.Event()
        self._lock = threading.Lock()

    def follow(self, pod: Object) -> None:
        """Follow a pod's log as soon as its container has started."""
        phase = pod.get("status", {}).get("phase")
        name = pod["metadata"]["name"]
        if phase in {"Succeeded", "Failed"}:
            self._ended.add(name)
        elif phase != "Running":
            return
        with self._lock:
            if name in self._threads:
                return
            thread = threading.Thread(
                target=self._copy, args=(pod,), name=f"log-{name}", daemon=True
            )
            self._threads[name] = thread
        thread.start()

    def finish(self, pods: Sequence[Object], timeout: float) -> None:
        """Return once the logs of these pods are in the store, or after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        for pod in pods:
            self.follow(pod)
            thread = self._threads.get(pod["metadata"]["name"])
            if thread is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    def forget(self, name: str) -> None:
        """Ask no more for the log of a pod that is gone."""
        self._gone.add(name)

    def close(self) -> None:
        """Stop following."""
        self._closed.set()

    def _copy(self, pod: Object) -> None:
        """Copy a log until its container has ended; a cut connection starts it over, for as long as
        there is a pod to ask.
        """
        name = pod["metadata"]["name"]
        target = _target(pod)
        while not self._closed.is_set():
            over = name in self._ended
            read = self._is_read(name, target, follow=not over)
            if name in self._gone or (read and (over or name in self._ended)):
                return
            self._closed.wait(AGAIN_SECONDS)

    def _is_read(self, name: str, target: str, *, follow: bool) -> bool:
        """Copy a log; False where more of it may be had by asking again."""
        try:
            self._copy_once(name, target, follow=follow)
        except TryAgain:
            return False
        except StageFailure:  # refused: there is no such log
            return True
        return True

    def _copy_once(self, name: str, target: str, *, follow: bool) -> None:
        text = b""
        written = time.monotonic()
        for chunk in self._api.log(name, follow=follow):
            text = (text + chunk)[-MOST_BYTES:]
            if time.monotonic() - written > WRITE_SECONDS:
                self._objects.write(target, text)
                written = time.monotonic()
            if self._closed.is_set():
                break
        if text:
            self._objects.write(target, text)


def _target(pod: Object) -> str:
    named = pod["metadata"]["annotations"]
    index = pod_index(pod)
    file = "log.txt" if index == 0 else f"log-{index}.txt"
    number = int(named["strata/attempt"])
    return f"{attempt_name(named['strata/stage'], named['strata/key'], number)}/{file}"
