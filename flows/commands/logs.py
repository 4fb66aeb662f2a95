"""`strata logs`: what the attempts of a step printed and journalled."""

from __future__ import annotations

import time
from typing import Annotated

from cyclopts import Parameter

from components.artifacts.store import ArtifactStore, Attempt, open_store
from components.contract import NotFound
from components.settings import settings
from components.tracking.journal import read_journal
from components.tracking.log_lines import log_lines
from flows.commands.output import emit, say
from flows.lookup import find
from flows.runs import RunRecord, StepRecord, load_run

FOLLOW_SECONDS = 0.5


def logs(
    name: str = "latest",
    *,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"])] = False,
    attempt: int = 0,
    json: bool = False,
) -> None:
    """Print what a step printed, and its journal: metrics, progress and events.

    Parameters
    ----------
    name
        STEP, RUN/STEP or RUN; of a run the step that runs, failed, or ended last.
    follow
        Go on until the step ends.
    attempt
        Number of the attempt; the newest without one.
    json
        Print the journal's records as JSON lines.
    """
    store = open_store(settings())
    found = find(store, name)
    if found.manifest is not None and found.run is None:
        stage, key = found.manifest.stage, found.manifest.key
    else:
        assert found.run is not None
        step = found.record or found.run.steps[_interesting(found.run)]
        stage, key = step.stage, step.key or ""
    chosen = _attempt(store, stage, key, attempt)
    if json:
        for record in read_journal(chosen.fetch_journal()):
            emit(record, compact=True)
        return
    lines = list(log_lines(read_journal(chosen.fetch_journal())))
    for line in lines:
        print(line)
    offset = _print_from(chosen, 0)
    if not lines and not offset:
        say(f"attempt {chosen.number} has printed nothing; --json prints its journal")
    while follow and _goes_on(store, found.run, key):
        time.sleep(FOLLOW_SECONDS)
        offset = _print_from(chosen, offset)
    _print_from(chosen, offset)


def _interesting(run: RunRecord) -> str:
    """Return the step that runs, else one that failed, else the one that ended last."""
    started = [(n, s) for n, s in run.steps.items() if s.key]
    if not started:
        raise NotFound(f"no step of run {run.id} has started yet")
    for state in ("running", "failed", "stopped"):
        for name, step in started:
            if step.state == state:
                return name
    return max(started, key=lambda pair: _ended(pair[1]))[0]


def _ended(step: StepRecord) -> float:
    return step.ended or 0.0


def _attempt(store: ArtifactStore, stage: str, key: str, number: int) -> Attempt:
    attempts = store.attempts(stage, key) if key else []
    fitting = [each for each in attempts if number in {0, each.number}]
    if not fitting:
        which = f"attempt {number}" if number else "attempt"
        raise NotFound(f"there is no {which} yet; `strata status` shows what runs")
    return fitting[-1]


def _print_from(attempt: Attempt, offset: int) -> int:
    log = attempt.fetch_log()
    if not log.exists():
        return 0
    with log.open("rb") as file:
        file.seek(offset)
        data = file.read()
    if data:
        print(data.decode("utf-8", "replace"), end="", flush=True)
    return offset + len(data)


def _goes_on(store: ArtifactStore, run: RunRecord | None, key: str) -> bool:
    now = load_run(store, run.id) if run else None
    return now is not None and any(
        step.key == key and step.state == "running" for step in now.steps.values()
    )
