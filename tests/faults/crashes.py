"""R10: the orchestrator is killed at random points of a run; what it held must be free again.

The pipeline is torch-free, under the real local launcher. After each `kill -9` no process may be
left, and every lock under the home must be to be had; in the end the crashed runs are continued.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from filelock import FileLock, Timeout

from components.artifacts.store import open_store
from components.settings import Settings
from flows.run import Job, carry_out, directly, make_plan
from flows.runs import newest_first
from tests.faults.figure import Figure
from tests.faults.forks import fork
from tests.processes import processes_of
from tests.sample_pipeline import job, unwatched

SECONDS_TO_BE_FREE = 60.0
CONTINUED = 3
"""Crashed runs that are continued to their end."""


def measure(n: int, seed: int, home: Path) -> Figure:
    """Crash `n` runs of one home."""
    draws = random.Random(seed)
    longest = timed(home, 0)
    slowest, held, unfinished = 0.0, 0, 0
    for number in range(1, n + 1):
        crashed = fork(orchestrate, home, number)
        crashed.join(draws.uniform(0.0, longest))
        unfinished += crashed.exitcode is None
        crashed.kill()
        crashed.join()
        seconds = seconds_until_free(home)
        slowest = max(slowest, seconds)
        held += seconds >= SECONDS_TO_BE_FREE
    wrong = sum(not continues(home, number) for number in range(1, min(n, CONTINUED) + 1))
    return Figure(
        row="R10",
        goal="crashes at random points: no lock, process or attempt held after 60 s",
        n=n,
        figure=f"{held} held; the slowest was free after {slowest:.1f} s; {unfinished} runs were "
        f"crashed in their course, {wrong} of {min(n, CONTINUED)} did not continue to their end",
        holds=held == 0 and wrong == 0 and unfinished >= n / 2,
    )


def asked(number: int) -> Job:
    """Return the job of one run; its artifacts are no other run's."""
    slow = {"seed": number, "seconds_each": 0.02}
    return job(**dict.fromkeys(("first", "second", "third", "aside"), slow))


def orchestrate(home: Path, number: int) -> None:
    """Carry one run out as `strata run` does, without Prefect."""
    os.environ["STRATA_HOME"] = str(home)  # its children are found by it
    settings = Settings(home=home)
    plan = make_plan(asked(number), open_store(settings))
    carry_out(asked(number), settings, plan, engine=directly, watcher=unwatched)


def timed(home: Path, number: int) -> float:
    """Return how long an undisturbed run takes from a warm process."""
    fork(int).join()
    started = time.monotonic()
    whole = fork(orchestrate, home, number)
    whole.join()
    assert whole.exitcode == 0
    return time.monotonic() - started


def seconds_until_free(home: Path) -> float:
    """Return how long it takes until nothing of a killed orchestrator is left."""
    started = time.monotonic()
    while processes_of(home) or any(is_held(lock) for lock in home.rglob("*.lock")):
        if time.monotonic() - started > SECONDS_TO_BE_FREE:
            return SECONDS_TO_BE_FREE
        time.sleep(0.05)
    return time.monotonic() - started


def is_held(path: Path) -> bool:
    """Tell whether some process holds a file lock."""
    try:
        with FileLock(path).acquire(timeout=0):
            return False
    except Timeout:
        return True


def continues(home: Path, number: int) -> bool:
    """Continue a crashed run; tell whether it ends whole, under the id it had."""
    settings = Settings(home=home)
    store = open_store(settings)
    before = {record.id for record in newest_first(store)}
    crashed = {r.id for r in newest_first(store) if r.identity == asked(number).identity}
    plan = make_plan(asked(number), store)
    outcome = carry_out(asked(number), settings, plan, engine=directly, watcher=unwatched)
    after = {record.id for record in newest_first(store)}
    made = [store.manifest(step.stage, step.key or "") for step in outcome.record.steps.values()]
    whole = all(manifest is not None and not store.damaged(manifest) for manifest in made)
    same = outcome.record.id in crashed and after == before if crashed else True
    return outcome.record.state == "done" and whole and same
