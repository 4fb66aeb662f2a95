"""`strata eval`: score one checkpoint of a run."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from components.artifacts.store import open_store
from components.settings import settings
from flows.commands.options import RunOptions
from flows.commands.run import carry_out_and_report
from flows.evaluate import evaluation
from flows.lookup import find, of_step
from flows.overlay import read_assignment


def evaluate(
    checkpoint: str = "agent",
    *,
    set: Annotated[list[str] | None, Parameter(name=["--set", "-s"])] = None,
    new: bool = False,
    json: bool = False,
) -> int:
    """Score one checkpoint, with the tasks and texts of its run.

    Parameters
    ----------
    checkpoint
        STEP or RUN/STEP, such as assistant.
    set
        One change of the scoring, FIELD=VALUE, such as split=dev or episodes=2000.
    new
        Make another run although one could be continued.
    json
        Print one JSON object as the last line of standard output.
    """
    here = settings()
    store = open_store(here)
    run, step = of_step(find(store, checkpoint, made=True), checkpoint)
    job = evaluation(store, run, step, [read_assignment(text) for text in set or []])
    return carry_out_and_report(job, here, RunOptions(new=new, json=json))
