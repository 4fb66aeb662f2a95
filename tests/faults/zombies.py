"""R8: Jobs whose orchestrator is dead come to a bad end, one fault after the other, on a fake
cluster with the real launcher and the real reconciler.

On another node a healthy run works all the while; its Job must never be touched. The fake cluster
gives a silent node up after seconds where a real one takes a minute; what is measured of that fault
starts when the node counts as not ready, and its toleration is cut to three seconds.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.artifacts.store import ArtifactStore
from components.execution.launch import Handle, Running
from components.settings import Settings
from flows.reconcile import Reconciler
from flows.runs import RunRecord, StepRecord, load_run, save_run
from tests.cluster import scenarios
from tests.cluster.scenarios import Place
from tests.fakes.cluster import FakeCluster, fake_cluster
from tests.faults.figure import Figure
from tests.processes import wait_until

SECONDS = 60.0
PAUSE_SECONDS = 1.0
"""Time between two rounds of the reconciler."""
FAULTS = {
    "pod deleted": ("stopped", "stopped at"),
    "out of memory": ("failed", "out of memory"),
    "evicted": ("stopped", "evicted"),
    "node gone": ("stopped", "node lost"),
}
"""State that the run must come to, and words of its cause."""


@dataclass
class Zombies:
    """Hold the cluster, and the reconciler that watches it."""

    cluster: FakeCluster
    place: Place
    reconciler: Reconciler
    seed: int
    made: int = 0

    @property
    def store(self) -> ArtifactStore:
        """Store of all runs."""
        return self.place.store

    def start(self, pid: int) -> tuple[RunRecord, Handle]:
        """Start a Job that runs for long, for a run whose orchestrator is the process `pid`."""
        self.made += 1
        request = self.place.request(upto=100_000, seconds_each=0.05, seed=self.made)
        request = request.model_copy(update={"run": f"run-{self.made}"})
        attempt = self.store.attempt(request.stage, request.key, request.attempt)
        attempt.write_record("request", request.model_dump(mode="json"))
        step = StepRecord(
            position=0, stage="count", state="running", key=request.key, attempt=request.attempt
        )
        record = RunRecord(
            id=request.run, recipe="counting", identity=request.run, resolved={},
            created=time.time(), host=socket.gethostname(), pid=pid, steps={"counting": step},
        )  # fmt: skip
        save_run(self.store, record)
        handle = self.place.launcher.submit(request)
        self.place.wait_for_progress(handle)
        return record, handle

    def pod_of(self, handle: Handle) -> str:
        """Return the name of an attempt's pod."""
        (name,) = [
            pod["metadata"]["name"]
            for pod in self.place.items("pods")
            if pod["metadata"]["annotations"]["strata/key"] == handle.key
        ]
        return name

    def strike(self, fault: str, pod: str) -> None:
        """Let a pod on the node `victim` come to a bad end."""
        victim = self.cluster.nodes["victim"]
        match fault:
            case "pod deleted":
                self.place.core.delete_namespaced_pod(
                    pod, self.place.namespace, _preload_content=False
                )
            case "out of memory":
                victim.oom(pod)
            case "evicted":
                victim.evict(pod)
            case _:
                victim.vanish()
                wait_until(lambda: not ready(self.place, "victim"), 30)

    def seconds_until_closed(self, run_id: str) -> float:
        """Reconcile until a run is closed; return how long that took."""
        started = time.monotonic()
        while time.monotonic() - started < SECONDS:
            self.reconciler.round()
            record = load_run(self.store, run_id)
            if record is not None and record.state != "running":
                return time.monotonic() - started
            time.sleep(PAUSE_SECONDS)
        return SECONDS


def measure(n: int, seed: int, place: Path) -> Figure:
    """Let `n` Jobs come to each bad end."""
    draws = random.Random(seed)
    faults = [fault for fault in FAULTS for _ in range(n)]
    draws.shuffle(faults)
    with contextlib.ExitStack() as stack:
        zombies = stack.enter_context(watched(place, seed))
        healthy, alive = zombies.start(os.getpid())
        busy = {"spec": {"taints": [{"key": "busy", "effect": "NoSchedule"}]}}
        zombies.place.core.patch_node("steady", busy, _preload_content=False)
        zombies.cluster.add_node("victim", images={scenarios.IMAGE})
        late, wrong, slowest = 0, [], dict.fromkeys(FAULTS, 0.0)
        for fault in faults:
            record, handle = zombies.start(dead_process())
            zombies.reconciler.round()
            zombies.strike(fault, zombies.pod_of(handle))
            seconds = zombies.seconds_until_closed(record.id)
            slowest[fault] = max(slowest[fault], seconds)
            late += seconds >= SECONDS
            ended = load_run(zombies.store, record.id)
            if not came_to(ended, fault):
                wrong.append(f"{fault}: {ended.state if ended else ''}")
            zombies.cluster.nodes["victim"].come_back()
            wait_until(lambda: ready(zombies.place, "victim"), 30)
        status = zombies.place.launcher.status(alive)
        untouched = isinstance(status, Running) and load_run(zombies.store, healthy.id) == healthy
        zombies.place.launcher.cancel(alive)
    told = ", ".join(f"{fault} {seconds:.1f} s" for fault, seconds in slowest.items())
    return Figure(
        row="R8",
        goal="pod deleted, OOM, evicted, node gone: right terminal state within 60 s; a healthy "
        "run never killed",
        n=len(faults),
        figure=f"{late} late, {len(wrong)} wrong {wrong[:3] or ''}; slowest: {told}; the healthy "
        f"run was {'left alone' if untouched else 'TOUCHED'} (fake cluster)",
        holds=late == 0 and not wrong and untouched,
    )


@contextlib.contextmanager
def watched(directory: Path, seed: int) -> Any:
    """Start a fake cluster with one node, and a reconciler."""
    directory.mkdir(parents=True, exist_ok=True)
    with fake_cluster(directory) as cluster:
        cluster.add_node("steady", images={scenarios.IMAGE})
        with scenarios.place(cluster.kubeconfig, directory) as place:
            settings = Settings(
                home=directory / "home",
                store=str(directory / "store"),
                launcher="kubernetes",
                cluster=str(place.description()),
            )
            with contextlib.closing(Reconciler(settings, lambda _: None)) as reconciler:
                yield Zombies(cluster, place, reconciler, seed)


def dead_process() -> int:
    """Return the id of a process that has ended."""
    gone = subprocess.Popen([sys.executable, "-S", "-c", ""])
    gone.wait()
    return gone.pid


def came_to(record: RunRecord | None, fault: str) -> bool:
    """Tell whether a run and its step came to the end that the fault stands for."""
    state, words = FAULTS[fault]
    if record is None:
        return False
    step = record.steps["counting"]
    return (record.state, step.state) == (state, state) and words in (step.cause or "")


def ready(place: Place, name: str) -> bool:
    """Tell whether a node takes pods and is seen."""
    node = place.core.read_node(name)
    kinds = {each.type: each.status for each in node.status.conditions}
    return kinds.get("Ready") == "True" and not node.spec.taints
