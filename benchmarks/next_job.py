"""P12: how long a cluster waits between two steps, over one bare create call on the same API.

A chain of torch-free steps runs through the real launcher, without Prefect. A: from the moment a
watch of the API shows a pod as succeeded to the moment a watch shows the next Job. In between the
Job's controller takes note, and the orchestrator sees the end, waits for the log, reads the
artifact's manifest, works out the next key, numbers the attempt, writes its request to the store
and asks for the Job. B: a create call of such a Job, suspended, until the same watch shows it.

The API is the one that KUBECONFIG names, else the fake of the tests; the figure says which.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from components.artifacts.identity import canonical_json, sha256_text
from components.artifacts.store import open_store
from components.contract import Resources
from components.settings import Settings
from flows.run import Job, carry_out, directly, make_plan
from tests.cluster import scenarios
from tests.cluster.scenarios import IMAGE, Place
from tests.fakes.cluster import fake_cluster
from tests.fakes.node_agent import NodeAgent
from tests.sample_pipeline import unwatched
from tests.sample_stages import COUNT, TABLE, CountConfig

STEPS = 12
GOAL = 1.2


class Seen:
    """Note when a watch shows a Job for the first time, and when it shows its pod's success."""

    def __init__(self, place: Place) -> None:
        self.made: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self._namespace = place.namespace
        lists = {
            place.batch.list_namespaced_job: self._job,
            place.core.list_namespaced_pod: self._pod,
        }
        for each in lists.items():
            threading.Thread(target=self._watch, args=each, daemon=True).start()

    def _watch(self, objects: Callable[..., Any], note: Callable[[Any, float], None]) -> None:
        answer = objects(self._namespace, watch=True, _preload_content=False, timeout_seconds=600)
        for line in answer:
            now = time.perf_counter()
            note(json.loads(line)["object"], now)

    def _job(self, job: Any, now: float) -> None:
        self.made.setdefault(job["metadata"]["name"], now)

    def _pod(self, pod: Any, now: float) -> None:
        if pod["status"].get("phase") == "Succeeded":
            self.ended.setdefault(pod["metadata"]["labels"]["job-name"], now)

    def wait_for(self, name: str) -> float:
        """Return when a Job was shown for the first time."""
        while name not in self.made:
            time.sleep(0.0002)
        return self.made[name]


def chain() -> Job:
    """Ask for steps of which each needs the one before."""
    configs = [CountConfig(upto=2 + number) for number in range(STEPS)]

    def pipeline(step: Any) -> Any:
        made = None
        for number, config in enumerate(configs):
            made = step(f"step_{number}", COUNT, config, **({"before": made} if made else {}))
        return made

    resolved = {f"step_{number}": config.model_dump() for number, config in enumerate(configs)}
    return Job(
        name="chain",
        pipeline=pipeline,
        resolved=resolved,
        identity=sha256_text(canonical_json(resolved)),
        resources_of=lambda _step: Resources(memory_gb=1),
        table=TABLE,
    )


@contextmanager
def cluster(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield the path of a kubeconfig, and what kind of API it names."""
    if named := os.environ.get("KUBECONFIG"):
        with NodeAgent(named, "strata-bench-node", directory / "node", images={IMAGE}):
            yield named, "the API of KUBECONFIG"
        return
    with fake_cluster(directory) as made:
        made.add_node("bench", images={IMAGE})
        yield made.kubeconfig, "the fake API"


def main(directory: Path) -> None:
    """Measure both and print the ratio."""
    with cluster(directory) as (kubeconfig, kind), scenarios.place(kubeconfig, directory) as place:
        seen = Seen(place)
        bare = [create(place, seen, number) for number in range(STEPS)]
        settings = Settings(
            home=directory / "home", launcher="kubernetes", cluster=str(place.description())
        )
        asked = chain()
        plan = make_plan(asked, open_store(settings))
        carry_out(asked, settings, plan, engine=directly, watcher=unwatched)
    ends = sorted(seen.ended.values())
    starts = sorted(at for name, at in seen.made.items() if name in seen.ended)
    between = [start - end for end, start in zip(ends, starts[1:], strict=False)]
    ratios = [each / median(bare) for each in between]
    print(f"stage end to next Job, {kind}: {spread(between)} s")
    print(f"bare create: {spread(bare)} s")
    print(f"ratio: {spread(ratios)}; goal {GOAL}")


def create(place: Place, seen: Seen, number: int) -> float:
    """Return how long a bare create call takes until a watch shows its Job."""
    body = {
        "metadata": {"name": f"bare-{number}"},
        "spec": {"suspend": True, "template": {"spec": pod()}},
    }
    started = time.perf_counter()
    place.batch.create_namespaced_job(place.namespace, body, _preload_content=False)
    return seen.wait_for(f"bare-{number}") - started


def pod() -> dict[str, Any]:
    return {
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": IMAGE, "command": ["true"]}],
    }


def spread(values: list[float]) -> str:
    return f"{median(values):.4f} ({min(values):.4f} to {max(values):.4f})"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        main(Path(made))
