"""Send runs to MLflow while they go, and again from the store.

Shipping happens in a thread beside the run, because importing MLflow takes seconds and a server may
be slow. Whatever fails there is told once and never fails the run. It is caught up by the next
call, the next run, the worker of `strata up`, or `strata mlflow rebuild`.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from components.artifacts.store import ArtifactStore, open_store
from components.contract import StageFailure, TryAgain
from components.settings import Settings
from components.tracking.snapshot import RunSnapshot, StepSnapshot
from flows.runs import RunRecord, newest_first
from flows.server_programs import mlflow_artifacts
from flows.servers import mlflow_uri

if TYPE_CHECKING:
    from components.tracking.mlflow import Shipper

EVERY_SECONDS = 5.0
RECENT_RUNS = 50
"""Newest runs that are looked at for what MLflow lacks."""
SETTLED_SECONDS = 120.0
"""Age of a run's end after which the process that made it no longer sends anything."""
LAST_SECONDS = 60.0
"""How long the end of a run waits for the rest to be sent."""
PATIENCE_SECONDS, PAUSE_SECONDS = 20.0, 2.0
"""How long, and how often, the end is sent again to an MLflow that took something before."""


def snapshot(record: RunRecord) -> RunSnapshot:
    """Return what a shipper needs to know about a run, without what is shared with the run."""
    steps = sorted(record.steps.items(), key=lambda item: item[1].position)
    return RunSnapshot(
        id=record.id,
        recipe=record.recipe,
        state=record.state,
        created=record.created,
        ended=record.ended,
        resolved=record.resolved,
        commit=record.commit,
        links=dict(record.links),
        steps=tuple(
            StepSnapshot(
                step=name,
                stage=step.stage,
                state=step.state,
                key=step.key,
                attempt=step.attempt,
                reason=step.reason,
                started=step.started,
                ended=step.ended,
                cause=step.cause,
            )
            for name, step in steps
        ),
    )


class Shipping:
    """Ship one run from a thread until `finish`."""

    def __init__(
        self,
        settings: Settings,
        record: Callable[[], RunRecord],
        on_links: Callable[[dict[str, str]], None] = lambda _: None,
    ) -> None:
        self.error: str | None = None
        """Why MLflow lacks something, in one line; None once it has everything."""
        self._settings = settings
        self._record = record
        self._on_links = on_links
        self._links: dict[str, str] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def finish(self, seconds: float = LAST_SECONDS) -> str | None:
        """Send the end of the run; return why something is missing, or None.

        Call it once the record holds the final state.
        """
        self._over.set()
        self._thread.join(seconds)
        if self._thread.is_alive():
            return f"MLflow did not take everything within {seconds:.0f} s"
        return self.error

    def _work(self) -> None:
        try:
            shipper = open_shipper(self._settings)
            self._catch_up(shipper)
            while not self._over.wait(EVERY_SECONDS):
                self._ship(shipper)
            self._ship_end(shipper)
        except Exception as error:  # the border of the thread: what went wrong is told by `finish`
            self.error = f"{type(error).__name__}: {error}"

    def _ship_end(self, shipper: Shipper) -> None:
        """Send the end of the run; who is gone for a moment alone gets another chance."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        self._ship(shipper)
        while self.error and self._links and time.monotonic() < deadline:
            time.sleep(PAUSE_SECONDS)
            self._ship(shipper)

    def _catch_up(self, shipper: Shipper) -> None:
        try:
            catch_up(self._settings, shipper)
        except StageFailure as error:  # the store is away: the next run looks again
            self.error = str(error)

    def _ship(self, shipper: Shipper) -> None:
        shipper.ship(snapshot(self._record()))
        self.error = shipper.error
        if not shipper.links or shipper.links == self._links:
            return
        try:
            self._on_links(dict(shipper.links))
        except StageFailure as error:  # the store is away: told again with the next call
            self.error = str(error)
        else:
            self._links = dict(shipper.links)


@contextmanager
def shipping(
    settings: Settings,
    record: Callable[[], RunRecord],
    *,
    on_links: Callable[[dict[str, str]], None] = lambda _: None,
    on_gap: Callable[[str], None] = lambda _: None,
) -> Generator[Shipping]:
    """Ship a run while the body lasts; `record` is asked for its state every few seconds.

    `on_links` gets MLflow's id and page of the run, `on_gap` the reason why MLflow lacks something
    at the end.
    """
    thread = Shipping(settings, record, on_links)
    try:
        yield thread
    finally:
        gap = thread.finish()
        if gap:
            on_gap(f"MLflow lacks a part of this run ({gap}); it is sent once MLflow is back")


def open_shipper(settings: Settings, store: ArtifactStore | None = None) -> Shipper:
    """Open the shipper to the MLflow that is set or up, or to its database."""
    from components.tracking.mlflow import Shipper

    # What they have to say runs through the live table; what matters is told by `error`.
    for name in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    uri = mlflow_uri(settings)
    artifacts = mlflow_artifacts(settings)
    artifacts.mkdir(parents=True, exist_ok=True)
    return Shipper(
        store or open_store(settings),
        uri,
        cursors=settings.home / "mlflow" / "cursors",
        artifacts=artifacts,
    )


def ship_once(settings: Settings, store: ArtifactStore, record: RunRecord) -> None:
    """Send a run that another process left open; where MLflow is away `catch_up` does it later."""
    with suppress(OSError, StageFailure):
        open_shipper(settings, store).ship(snapshot(record))


def behind(settings: Settings, store: ArtifactStore) -> list[RunRecord]:
    """Return recent runs that have ended and whose end MLflow was not sent, oldest first."""
    cursors = settings.home / "mlflow" / "cursors"
    found: list[RunRecord] = []
    for record in islice(newest_first(store), RECENT_RUNS):
        if record.ended is None or time.time() - record.ended < SETTLED_SECONDS:
            continue
        try:
            sent = json.loads((cursors / f"{record.id}.json").read_bytes())["state"]
        except (OSError, ValueError, KeyError):
            sent = ""
        if sent != record.state:
            found.append(record)
    return found[::-1]


def catch_up(settings: Settings, shipper: Shipper | None = None) -> int:
    """Send what MLflow missed while it was away; return how many runs it took.

    Imports MLflow only where something is missing. Two processes never do it at once.
    """
    store = open_store(settings)
    lock = FileLock(settings.home / "mlflow" / "catch-up.lock")
    if not behind(settings, store):
        return 0
    try:
        with lock.acquire(timeout=0):
            shipper = shipper or open_shipper(settings, store)
            missing = behind(settings, store)
            taken = takewhile(shipper.ship, map(snapshot, missing))
            return sum(1 for _ in taken)
    except Timeout:
        return 0


def rebuild_mlflow(settings: Settings, say: Callable[[str], None] = lambda _: None) -> int:
    """Send every run of the store to MLflow again, oldest first; return how many there were.

    What MLflow has already is not doubled. Raises TryAgain where MLflow does not answer.
    """
    store = open_store(settings)
    shipper = open_shipper(settings, store)
    records = list(newest_first(store))[::-1]
    for record in records:
        shipper.forget(record.id)
        if not shipper.ship(snapshot(record)):
            raise TryAgain(f"MLflow at {shipper.uri} did not take run {record.id}: {shipper.error}")
        say(f"sent run {record.id}")
    return len(records)
