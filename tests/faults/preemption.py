"""R6: a training attempt gets SIGTERM at random moments, again and again, and saves each time.

Every attempt goes on where the one before was stopped. A pipeline step that is pre-empted twenty
times must still have its whole budget for failures.
"""

from __future__ import annotations

import os
import random
import signal
import time
from functools import partial
from pathlib import Path

from components.artifacts.store import open_store
from components.contract import Resources
from components.execution.request import StageRequest
from components.settings import Settings
from flows.attempts import StepFailed
from flows.run import Job, carry_out, directly, make_plan
from tests.faults import stages
from tests.faults.attempts import attempt_of
from tests.faults.attempts import carry_out as carry_out_request
from tests.faults.figure import Figure
from tests.faults.forks import fork
from tests.faults.training import Trainer, newest_point
from tests.processes import wait_until
from tests.sample_pipeline import unwatched

SECONDS = 20.0
PREEMPTIONS = 20
FAILURES = 1
"""Failures a step may have besides."""


def measure(n: int, seed: int, place: Path) -> Figure:
    """Pre-empt `n` times, and 20 times with a failure behind."""
    draws = random.Random(seed)
    trainer = Trainer(place / "training", steps=100_000)
    slowest, unsaved, codes = 0.0, 0, set[int]()
    for _ in range(n):
        request = trainer.ask(resume_seconds=1e6)
        attempt = fork(carry_out_request, request)
        wait_until(partial(has_trained, trainer, request))
        time.sleep(draws.uniform(0.0, 0.2))
        stopped = time.monotonic()
        os.kill(attempt.pid or 0, signal.SIGTERM)
        attempt.join(3 * SECONDS)
        slowest = max(slowest, time.monotonic() - stopped)
        codes.add(attempt.exitcode if attempt.exitcode is not None else -1)
        saved = newest_point(attempt_of(trainer.home, request).resume)
        unsaved += saved != trainer.steps(request)[-1]
    spent = not budget_holds(place / "budget")
    return Figure(
        row="R6",
        goal="SIGTERM: saved and exit 143 within 20 s; 20 pre-emptions do not spend the failure "
        "budget",
        n=n,
        figure=f"exit codes {sorted(codes)}, {unsaved} did not save their last step, the slowest "
        f"took {slowest:.2f} s; budget {'spent' if spent else 'kept'}",
        holds=codes == {143} and unsaved == 0 and slowest < SECONDS and not spent,
    )


def has_trained(trainer: Trainer, request: StageRequest) -> bool:
    return bool(trainer.steps(request))


def budget_holds(home: Path) -> bool:
    """Pre-empt a step 20 times, fail it as often as it may; tell whether it is made all the same,
    and whether one failure more ends it.
    """
    ends = ("pre-empted",) * PREEMPTIONS + ("failed",) * FAILURES
    if run(home, ends) != "done":
        return False
    try:
        run(home, (*ends, "failed"))
    except StepFailed as failed:
        return failed.exit_code == 1
    return False


def run(home: Path, ends: tuple[str, ...]) -> str:
    """Run a pipeline of one step whose first attempts end as told; return the run's state."""

    def pipeline(step):
        return step("sign", stages.SIGN, stages.SignConfig(ends=ends))

    job = Job(
        name="signing",
        pipeline=pipeline,
        resolved={"sign": {"ends": list(ends)}},
        identity=" ".join(ends),
        resources_of=lambda _step: Resources(),
        table=stages.TABLE,
    )
    settings = Settings(home=home)
    plan = make_plan(job, open_store(settings))
    outcome = carry_out(job, settings, plan, engine=directly, watcher=unwatched)
    return outcome.record.state
