"""Write down what happens in a run: in its record in the store first, then in the catalog.

The catalog is a view. When its database is away the run goes on, says so once, and `strata catalog
rebuild` fills the gap from the store.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from components.artifacts.manifest import Manifest
from components.artifacts.store import ArtifactStore
from components.catalog import queries, record
from components.catalog.session import Catalog, open_catalog
from components.contract import StageFailure
from flows.runs import RunRecord, RunState, StepRecord, save_run


class Register:
    """Keep the record of one run while it goes; safe to use from several threads."""

    def __init__(self, store: ArtifactStore, run: RunRecord, catalog_url: str) -> None:
        self.run = run
        self._store = store
        self._lock = threading.Lock()
        self._opened = time.time()
        self._earlier = run.seconds
        self._catalog_url = catalog_url
        self._behind = False
        self.catalog: Catalog | None = None

    def start(self, steps: dict[str, StepRecord], **changes: Any) -> None:
        """Say that an orchestrator works on the run, whose steps are these."""
        with self._lock:
            self.run = self.run.model_copy(
                update={"state": "running", "ended": None, "cause": None, "steps": steps, **changes}
            )
            save_run(self._store, self.run)
        run = self.run
        self._write(
            lambda catalog: record.record_run(
                catalog,
                run.id,
                recipe=run.recipe,
                state="running",
                created=run.created,
                ended=None,
                recipe_digest=run.identity,
                resolved_config=run.resolved,
                host=run.host,
                pid=run.pid,
                cause=None,
            )
        )
        for name, step in steps.items():
            self._record_step(name, step)

    def step(self, name: str, **changes: Any) -> StepRecord:
        """Say what is new about a step."""
        with self._lock:
            step = self.run.steps[name].model_copy(update=changes)
            self.run.steps[name] = step
            self.run.seconds = self._earlier + time.time() - self._opened
            save_run(self._store, self.run)
            run_id, seconds = self.run.id, self.run.seconds
        self._record_step(name, step)
        self._write(lambda catalog: record.record_run(catalog, run_id, seconds=seconds))
        return step

    def attempt(self, key: str, number: int, **changes: Any) -> None:
        """Say what is new about an attempt at a key."""
        self._write(lambda catalog: record.record_attempt(catalog, key, number, **changes))

    def artifact(self, manifest: Manifest) -> None:
        """Say that an artifact exists."""
        uri = self._store.address(manifest)
        self._write(lambda catalog: record.record_artifact(catalog, manifest, uri))

    def condemned(self, key: str) -> None:
        """Say that an artifact was found damaged and set aside."""
        self._write(lambda catalog: record.condemn_artifact(catalog, key))

    def event(self, name: str, step: str | None = None, **details: Any) -> None:
        """Say that something happened once."""
        self._write(
            lambda catalog: record.event(catalog, name, run_id=self.run.id, step=step, **details)
        )

    def links(self, **links: str) -> None:
        """Remember where the run can be looked at."""
        with self._lock:
            self.run.links = {**self.run.links, **links}
            save_run(self._store, self.run)
        ids = {"flow_run_id": "prefect_flow_run", "mlflow_run_id": "mlflow_run"}
        known: Any = {field: links[name] for field, name in ids.items() if links.get(name)}
        if known:
            run_id = self.run.id
            self._write(lambda catalog: record.record_run(catalog, run_id, **known))

    def finish(self, state: RunState, cause: str | None = None) -> None:
        """Close the run."""
        with self._lock:
            self.run.state, self.run.cause = state, cause
            self.run.ended, self.run.pid = time.time(), None
            self.run.seconds = self._earlier + time.time() - self._opened
            save_run(self._store, self.run)
        run = self.run
        self._write(
            lambda catalog: record.finish_run(
                catalog, run.id, state, cause=cause, seconds=run.seconds
            )
        )

    def close(self) -> None:
        """Give the catalog's connections back."""
        if self.catalog is not None:
            self.catalog.close()

    def _record_step(self, name: str, step: StepRecord) -> None:
        run_id = self.run.id
        values: Any = step.model_dump()
        self._write(lambda catalog: record.record_step(catalog, run_id, name, **values))

    def _write(self, write: Callable[[Catalog], None]) -> None:
        if self._behind:
            return
        try:
            if self.catalog is None:
                self.catalog = open_catalog(self._catalog_url)
            write(self.catalog)
        except (SQLAlchemyError, StageFailure) as error:
            self._behind = True
            first = str(error).splitlines()[0]
            print(
                f"the catalog cannot be written ({first}); the run goes on. "
                "`strata catalog rebuild` fills the gap.",
                file=sys.stderr,
            )


def said_to_run(catalog_url: str) -> tuple[list[str], list[queries.AttemptRow]]:
    """Return which runs, by id, and which attempts the catalog says run; none while its database
    is away.
    """
    try:
        catalog = open_catalog(catalog_url)
        try:
            return queries.running(catalog)
        finally:
            catalog.close()
    except (SQLAlchemyError, StageFailure):
        return [], []
