"""Write down what happens in a run: in its record in the store first, then in the catalog.

The catalog is a view, and is told behind the run's back: a database that is away stops nothing.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from components.artifacts.manifest import Manifest
from components.artifacts.store import ArtifactStore
from components.catalog import record
from flows.catalog_queue import CatalogQueue
from flows.runs import RunRecord, RunState, StepRecord, save_run


class Register:
    """Keep the record of one run while it goes; safe to use from several threads."""

    def __init__(self, store: ArtifactStore, run: RunRecord, catalog_url: str) -> None:
        self.run = run
        self._store = store
        self._lock = threading.Lock()
        self._opened = time.time()
        self._earlier = run.seconds
        self._catalog = CatalogQueue(catalog_url)

    def start(self, steps: dict[str, StepRecord], **changes: Any) -> None:
        """Say that an orchestrator works on the run, whose steps are these."""
        with self._lock:
            self.run = self.run.model_copy(
                update={"state": "running", "ended": None, "cause": None, "steps": steps, **changes}
            )
            save_run(self._store, self.run)
        run = self.run
        self._catalog.put(
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
        self._catalog.put(lambda catalog: record.record_run(catalog, run_id, seconds=seconds))
        return step

    def attempt(self, key: str, number: int, **changes: Any) -> None:
        """Say what is new about an attempt at a key."""
        self._catalog.put(lambda catalog: record.record_attempt(catalog, key, number, **changes))

    def artifact(self, manifest: Manifest) -> None:
        """Say that an artifact exists."""
        uri = self._store.address(manifest)
        self._catalog.put(lambda catalog: record.record_artifact(catalog, manifest, uri))

    def condemned(self, key: str) -> None:
        """Say that an artifact was found damaged and set aside."""
        found = time.time()
        self._catalog.put(lambda catalog: record.condemn_artifact(catalog, key, found))

    def event(self, name: str, step: str | None = None, **details: Any) -> None:
        """Say that something happened once."""
        known: Any = {"run_id": self.run.id, "step": step, "at": time.time(), **details}
        self._catalog.put(lambda catalog: record.event(catalog, name, **known))

    def links(self, **links: str) -> None:
        """Remember where the run can be looked at."""
        with self._lock:
            self.run.links = {**self.run.links, **links}
            save_run(self._store, self.run)
        ids = {"flow_run_id": "prefect_flow_run", "mlflow_run_id": "mlflow_run"}
        known: Any = {field: links[name] for field, name in ids.items() if links.get(name)}
        if known:
            run_id = self.run.id
            self._catalog.put(lambda catalog: record.record_run(catalog, run_id, **known))

    def finish(self, state: RunState, cause: str | None = None) -> None:
        """Close the run."""
        with self._lock:
            self.run.state, self.run.cause = state, cause
            self.run.ended, self.run.pid = time.time(), None
            self.run.seconds = self._earlier + time.time() - self._opened
            save_run(self._store, self.run)
        run = self.run
        self._catalog.put(
            lambda catalog: record.finish_run(
                catalog, run.id, state, cause=cause, ended=run.ended, seconds=run.seconds
            )
        )

    def close(self) -> None:
        """Wait for the catalog, for a while, and give its connections back."""
        self._catalog.close()

    def _record_step(self, name: str, step: StepRecord) -> None:
        run_id = self.run.id
        values: Any = step.model_dump()
        self._catalog.put(lambda catalog: record.record_step(catalog, run_id, name, **values))
