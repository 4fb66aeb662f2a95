"""Torch-free stages that tests run through the real launchers: they count, wait, fail and stop as
told.
"""

from __future__ import annotations

import json
import os
import signal
import time

from components.artifacts.types import Artifact
from components.contract import (
    BadInput,
    EnvironmentMissing,
    Facts,
    GuardStop,
    Stage,
    StageConfig,
    StageContext,
    StageInputs,
    Stopped,
    TryAgain,
)


class Numbers(Artifact):
    """Hold `numbers.json`."""


class CountConfig(StageConfig):
    upto: int = 3
    seed: int = 0
    seconds_each: float = 0.0
    fail: str = ""
    """How to end instead of counting to the end."""
    fail_attempts: int = 1_000_000
    """Attempts that fail; later ones count to the end."""


class CountInputs(StageInputs):
    before: Numbers | None = None


class CountFacts(Facts):
    total: int


FAILURES = {
    "error": lambda: RuntimeError("broken on purpose"),
    "bad_input": lambda: BadInput("the input is bad"),
    "environment": lambda: EnvironmentMissing("no such device"),
    "guard": lambda: GuardStop("loss is not finite"),
    "try_again": lambda: TryAgain("the service is away"),
}


def count(config: CountConfig, inputs: CountInputs, context: StageContext) -> CountFacts:
    """Write the numbers up to `upto`, on top of the input's; resumes where an earlier attempt
    stopped.
    """
    start = 0
    for earlier in context.earlier_resumes:
        point = earlier / "at.json"
        if point.exists():
            start = json.loads(point.read_text())
            context.journal.event("resumed", at=start)
            break
    print(f"counting from {start}")
    attempt = int(context.out.parent.name)
    for number in range(start, config.upto):
        if context.stop_requested():
            context.resume.mkdir(parents=True, exist_ok=True)
            (context.resume / "at.json").write_text(json.dumps(number))
            raise Stopped(f"stopped at {number}")
        time.sleep(config.seconds_each)
        context.journal.metric(number, train__loss=1.0 / (number + 1))
        context.journal.progress(number + 1, config.upto, "numbers")
    if config.fail and attempt <= config.fail_attempts:
        if config.fail == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise FAILURES[config.fail]()
    before = json.loads((inputs.before.path / "numbers.json").read_text()) if inputs.before else []
    numbers = before + list(range(config.upto))
    (context.out / "numbers.json").write_text(json.dumps(numbers))
    return CountFacts(total=sum(numbers))


COUNT = Stage("count", CountConfig, CountInputs, Numbers, run="tests.sample_stages:count")
STAGES = {"count": COUNT}
TABLE = "tests.sample_stages:STAGES"
