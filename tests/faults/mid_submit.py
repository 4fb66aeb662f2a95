"""R9, second half: orchestrators are killed while they submit a Job; there must never be two Jobs
for one artifact that both run, and starting again must end with it made.

The cluster is the fake one. Kills fall between the start of the command and a moment after its Job
was seen, so some hit before the attempt is numbered, some between number and Job, some after.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import defaultdict
from pathlib import Path

from components.artifacts.store import open_store
from components.settings import Settings
from flows.run import carry_out, directly, make_plan
from flows.runs import newest_first
from tests.cluster import scenarios
from tests.cluster.scenarios import Place
from tests.fakes.cluster import fake_cluster
from tests.faults.figure import Figure
from tests.faults.forks import fork
from tests.sample_pipeline import job, unwatched

LONGEST_SECONDS = 1.5
"""Between the start of a command and its death; its Job is there after about half a second."""
SLOW = {"upto": 20, "seconds_each": 0.05}


def measure(n: int, seed: int, place: Path) -> Figure:
    """Kill the orchestrators of `n` runs in mid-submit and start each again."""
    draws = random.Random(seed)
    place.mkdir(parents=True, exist_ok=True)
    with fake_cluster(place) as cluster:
        cluster.add_node("steady", images={scenarios.IMAGE})
        with scenarios.place(cluster.kubeconfig, place) as made:
            about = made.description()
            home = place / "home"
            watch = Watch(made)
            fork(int).join()
            killed, failed = 0, 0
            for number in range(n):
                command = fork(orchestrate, home, about, number)
                command.join(draws.uniform(0.0, LONGEST_SECONDS))
                killed += command.exitcode is None
                command.kill()
                command.join()
                again = fork(orchestrate, home, about, number)
                again.join(120)
                failed += again.exitcode != 0
            watch.over.set()
            watch.thread.join()
            store = open_store(Settings(home=home))
            unfinished = sum(record.state != "done" for record in newest_first(store))
            attempts = [len(store.attempts(*key)) for key in store.keys()]  # noqa: SIM118
            double = len(watch.double)
    return Figure(
        row="R9b",
        goal="no double Job after restarts in mid-submit",
        n=n,
        figure=f"{double} artifacts with two Jobs at once, {unfinished} runs not finished; "
        f"{killed} were killed in their course, {len(attempts)} artifacts took {sum(attempts)} "
        "attempts",
        holds=double == 0 and unfinished == 0 and failed == 0 and killed >= n / 2,
    )


def orchestrate(home: Path, about: Path, number: int) -> None:
    """Carry one run out as `strata run --here` does, without Prefect."""
    os.environ["STRATA_HOME"] = str(home)
    settings = Settings(home=home, launcher="kubernetes", cluster=str(about))
    asked = job(first={**SLOW, "seed": number}, until="first")
    carry_out(
        asked, settings, make_plan(asked, open_store(settings)), engine=directly, watcher=unwatched
    )


class Watch:
    """Look at the Jobs of a namespace all the while, and note artifacts with two that run."""

    def __init__(self, place: Place) -> None:
        self.over = threading.Event()
        self.double: set[str] = set()
        self._place = place
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        while not self.over.is_set():
            alive: dict[str, int] = defaultdict(int)
            for item in self._place.items("jobs"):
                ended = any(
                    each["type"] in {"Complete", "Failed"} and each["status"] == "True"
                    for each in item.get("status", {}).get("conditions") or []
                )
                going = item["metadata"].get("deletionTimestamp")
                alive[item["metadata"]["annotations"]["strata/key"]] += not ended and not going
            self.double |= {key for key, count in alive.items() if count > 1}
            time.sleep(0.05)
