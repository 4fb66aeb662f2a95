"""R5: a training process is killed; how long until the next optimizer step, and what was lost.

Both attempts are cold: a process of their own that imports torch, as after a node's death. The
model has the shape of the recipe `ci` with the vocabulary of the sample tokenizer.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

from components.execution.request import StageRequest
from components.tracking.journal import read_journal
from flows.recipes.ci import ci
from tests.components.training.sample_inputs import make_inputs
from tests.faults.attempts import attempt_of
from tests.faults.figure import Figure
from tests.faults.training import Trainer
from tests.processes import wait_until

SECONDS = 15.0
RESUME_SECONDS = 2.0


def measure(n: int, seed: int, place: Path) -> Figure:
    """Kill and start again `n` times."""
    draws = random.Random(seed)
    vocabulary = make_inputs(place / "sample").shape.vocab_size
    shape = ci().commonsense.model.model_copy(update={"vocab_size": vocabulary})
    trainer = Trainer(place / "home", steps=100_000, shape=shape)
    request, process = start(trainer)
    slowest = most_lost = longest_step = 0.0
    for _ in range(n):
        wait_until(partial(has_steps, trainer, request, 5))
        time.sleep(draws.uniform(RESUME_SECONDS, 2 * RESUME_SECONDS))
        process.kill()
        killed = time.time()
        process.wait()
        before = step_times(trainer, request)
        request, process = start(trainer)
        wait_until(partial(has_steps, trainer, request, 1))
        after = step_times(trainer, request)
        slowest = max(slowest, min(after.values()) - killed)
        most_lost = max(most_lost, max(before.values()) - before[min(after) - 1])
        gaps = [late - soon for soon, late in pairwise(before.values())]
        longest_step = max(longest_step, *gaps)
    process.kill()
    process.wait()
    return Figure(
        row="R5",
        goal="kill -9 to the next optimizer step < 15 s on the ci model; lost work ≤ the interval "
        "between resume points",
        n=n,
        figure=f"the slowest took {slowest:.1f} s from a cold start; at most {most_lost:.1f} s of "
        f"work lost at an interval of {RESUME_SECONDS:.0f} s",
        holds=slowest < SECONDS and most_lost <= RESUME_SECONDS + 2 * longest_step,
    )


def start(trainer: Trainer) -> tuple[StageRequest, subprocess.Popen[bytes]]:
    """Start the next attempt as a launcher does."""
    request = trainer.ask(resume_seconds=RESUME_SECONDS)
    argv = [sys.executable, "-m", "components.execution.execute", request.uri]
    return request, subprocess.Popen(argv)


def has_steps(trainer: Trainer, request: StageRequest, count: int) -> bool:
    return len(trainer.steps(request)) >= count


def step_times(trainer: Trainer, request: StageRequest) -> dict[int, float]:
    """Return when each optimizer step of an attempt was over, in UNIX seconds."""
    records = read_journal(attempt_of(trainer.home, request).journal)
    return {record["step"]: record["time"] for record in records if record["kind"] == "metric"}
