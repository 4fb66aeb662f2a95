"""Torch-free stages for faults: one whose files tell which attempt wrote them, one that ends each
attempt as told.
"""

from __future__ import annotations

import time

from components.artifacts.types import Artifact
from components.contract import Facts, Stage, StageConfig, StageContext, StageInputs, Stopped

PARTS = 4


class Signed(Artifact):
    """Hold `part-0` to `part-3`, each with the number of the attempt that wrote it."""


class SignConfig(StageConfig):
    race: int = 0
    """Makes the artifact another one."""
    seconds: float = 0.0
    ends: tuple[str, ...] = ()
    """How the first attempts end instead: `pre-empted` or `failed`."""


class SignFacts(Facts):
    attempt: int


class Nothing(StageInputs):
    pass


def sign(config: SignConfig, inputs: Nothing, context: StageContext) -> SignFacts:
    """Sign every file with the number of the attempt."""
    del inputs
    attempt = int(context.out.parent.name)
    if attempt <= len(config.ends):
        if config.ends[attempt - 1] == "pre-empted":
            raise Stopped("pre-empted on purpose")
        raise RuntimeError("failed on purpose")
    for part in range(PARTS):
        (context.out / f"part-{part}").write_text(str(attempt))
        time.sleep(config.seconds / PARTS)
    return SignFacts(attempt=attempt)


SIGN = Stage("sign", SignConfig, Nothing, Signed, run="tests.faults.stages:sign")
STAGES = {"sign": SIGN}
TABLE = "tests.faults.stages:STAGES"
