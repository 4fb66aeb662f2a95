"""A run of the torch-free pipeline as `strata run` carries one out, slow enough for faults.

Everything is as the settings say: Prefect as the engine, MLflow beside it, store and catalog where
they are. `python -m tests.faults.long_run STEPS`: each of the four steps counts to STEPS, twenty a
second.
"""

from __future__ import annotations

import sys

from components.artifacts.store import open_store
from components.contract import StageFailure
from components.settings import settings
from flows.display import watch
from flows.engine import to_mlflow, with_prefect
from flows.run import Job, carry_out, make_plan
from tests.sample_pipeline import job

STEPS_A_SECOND = 20


def asked(steps: int) -> Job:
    """Return the job of a run whose four steps count so far."""
    slow = {"upto": steps, "seconds_each": 1.0 / STEPS_A_SECOND}
    return job(**dict.fromkeys(("first", "second", "third", "aside"), slow))


def main(steps: int) -> int:
    """Carry the run out; return the exit code."""
    here = settings()
    try:
        plan = make_plan(asked(steps), open_store(here))
        carry_out(asked(steps), here, plan, engine=with_prefect, watcher=watch, shipper=to_mlflow)
    except StageFailure as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
