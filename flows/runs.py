"""The record of each run in the store: what was asked for, and how far every step came.

`runs/<id>/run.json` is written whole after every change. It is the truth that the catalog is
rebuilt from, and it answers "which run does this command continue?" without a database. A file lock
beside it, held while an orchestrator works on the run, dies with its process.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict

from components.artifacts.store import ArtifactStore
from components.contract import BadInput, NotFound, TryAgain
from components.settings import Settings

RUN_FORMAT = 1
RunState = Literal["running", "done", "failed", "stopped"]
StepState = Literal["pending", "cached", "running", "done", "failed", "stopped", "skipped"]


class StepRecord(BaseModel):
    """Say how far one step of a run came."""

    model_config = ConfigDict(extra="forbid")

    position: int
    stage: str
    state: StepState = "pending"
    reason: str = ""
    key: str | None = None
    digest: str | None = None
    attempt: int | None = None
    started: float | None = None
    ended: float | None = None
    cause: str | None = None

    @property
    def seconds(self) -> float:
        """Wall time in this run; 0 for a cached step."""
        if self.started is None or self.state == "cached":
            return 0.0
        return (self.ended or time.time()) - self.started


class RunRecord(BaseModel):
    """Say what a run was asked to make and what became of it."""

    model_config = ConfigDict(extra="forbid")

    format: int = RUN_FORMAT
    id: str
    recipe: str
    kind: Literal["pipeline", "evaluation", "release", "ablation"] = "pipeline"
    identity: str
    """SHA-256 of the resolved recipe without its resources: an equal one is continued."""
    resolved: dict[str, Any]
    until: str = ""
    """Last step that was asked for; empty means the whole pipeline."""
    state: RunState = "running"
    created: float
    ended: float | None = None
    seconds: float = 0.0
    """Time in which an orchestrator worked on the run; pauses do not count."""
    host: str = ""
    pid: int | None = None
    cause: str | None = None
    commit: str = ""
    exceptions: tuple[str, ...] = ()
    links: dict[str, str] = {}
    steps: dict[str, StepRecord] = {}


def new_id(recipe: str) -> str:
    """Make a run id that sorts by time of creation, to the millisecond."""
    now = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    return f"{stamp}{int(now * 1000) % 1000:03d}-{recipe}-{secrets.token_hex(2)}"


def save_run(store: ArtifactStore, record: RunRecord) -> None:
    """Write the record, replacing the one before."""
    store.objects.write(f"runs/{record.id}/run.json", record.model_dump_json(indent=1).encode())


def load_run(store: ArtifactStore, run_id: str) -> RunRecord | None:
    """Read one record by its whole id; None where it does not exist or was torn."""
    data = store.objects.read(f"runs/{run_id}/run.json")
    try:
        return None if data is None else RunRecord.model_validate_json(data)
    except ValueError:
        return None


def newest_first(store: ArtifactStore) -> Iterator[RunRecord]:
    """Yield the records of all runs, the newest first, reading each only when it is asked for."""
    for run_id in sorted(store.objects.names("runs"), reverse=True):
        record = load_run(store, run_id)
        if record is not None:
            yield record


def find_run(store: ArtifactStore, name: str = "") -> RunRecord:
    """Return the run whose id contains `name`, or the newest for an empty name or `latest`.

    Raises NotFound where there is none and BadInput where several fit.
    """
    if name in {"", "latest"}:
        newest = next(newest_first(store), None)
        if newest is None:
            _refuse_torn(store, list(store.objects.names("runs")))
            raise NotFound("there is no run yet: start one with `strata run toy`")
        return newest
    exact = load_run(store, name)
    if exact is not None:
        return exact
    fitting = [run_id for run_id in store.objects.names("runs") if name in run_id]
    if len(fitting) > 1:
        shown = ", ".join(fitting[-4:])
        raise BadInput(f"several runs are named like {name}: {shown}. Give more of the id.")
    found = load_run(store, fitting[0]) if fitting else None
    if found is None:
        _refuse_torn(store, fitting)
        raise NotFound(f"there is no run named like {name}: `strata runs` lists them")
    return found


def _refuse_torn(store: ArtifactStore, run_ids: list[str]) -> None:
    """Raise BadInput for the first of these runs that has a record, since it could not be read."""
    for run_id in run_ids:
        place = f"runs/{run_id}/run.json"
        if store.objects.read(place) is not None:
            raise BadInput(
                f"the record of run {run_id} is damaged: {store.objects.directory('') / place}\n"
                "Move it aside; its artifacts are kept, and the same recipe finds them again."
            )


def run_with(
    store: ArtifactStore, identity: str, until: str, *, finished: bool
) -> RunRecord | None:
    """Return the newest run of an equal recipe: a finished one, or one to continue."""
    for record in newest_first(store):
        equal = record.identity == identity and record.until == until
        if equal and finished == (record.state == "done"):
            return record
    return None


@contextmanager
def run_lock(settings: Settings, run_id: str) -> Generator[None]:
    """Hold a run against other orchestrators; raises TryAgain where one is at work on it."""
    directory = settings.home / "locks"
    directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / f"run-{run_id}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise TryAgain(
            f"run {run_id} is being worked on by another process of this machine: wait for it, "
            "follow it with `strata logs`, or start a separate one with --new"
        ) from None
    try:
        yield
    finally:
        lock.release()
