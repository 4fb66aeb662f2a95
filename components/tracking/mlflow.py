"""Ship runs to MLflow: one experiment, a parent run for a pipeline run, a child run for a step.

The journal comes first and MLflow is a view of it. A shipper is told the state of a run again and
again and sends what MLflow lacks; when MLflow is away it says so and the next call sends more.
Sending twice changes nothing: MLflow keeps one of two equal points, and the time of a point is the
journal's. A cursor file spares the sending again; losing it costs time only.

The attempts at a step are one continuous curve: a resumed attempt repeats steps that its
predecessor had reported, and MLflow would keep both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# ruff: noqa: E402
# MLflow reads these when it is imported and when it sends. Its own patience (7 retries, 120 s)
# would hold a run's end for minutes while the server is away.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # our standard output is data
}.items():
    os.environ.setdefault(_name, _value)

from mlflow.entities import Experiment, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from components.artifacts.local_store import LocalStore
from components.artifacts.manifest import Manifest
from components.artifacts.store import ArtifactStore
from components.contract import StageFailure
from components.tracking import mlflow_models as models
from components.tracking.curve import Curve
from components.tracking.snapshot import RunSnapshot, StepSnapshot

EXPERIMENT = "strata"
KIND = "mlflow.experimentKind", "custom_model_development"
"""Tag that lists the experiment under model training."""
MODE = "workflowType=machine_learning"
"""Part of a page's address; without it MLflow opens its pages for traces of language models."""
BATCH = 1000
"""Metrics in one request, MLflow's limit."""
PARAMS = 100
"""Parameters in one request, MLflow's limit."""
VALUE_LENGTH = 6000
KEY_LENGTH = 250
_MLFLOW_STATE = {"done": "FINISHED", "cached": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}


@dataclass
class Shipped:
    """Hold what MLflow has of one step."""

    run: str
    """MLflow's id of the child run."""
    state: str = ""
    """State of the step that was sent in full."""
    highest: dict[str, int] = field(default_factory=dict[str, int])
    model: str | None = None
    """MLflow's id of the checkpoint's logged model."""


@dataclass
class Cursor:
    """Hold what MLflow has of one run."""

    parent: str = ""
    state: str = ""
    steps: dict[str, Shipped] = field(default_factory=dict[str, Shipped])
    """By step and key: a step that was made again under another key has another child run."""


class Shipper:
    """Send runs to one MLflow; not safe to use from several threads.

    `cursors` is a directory for what was sent, `artifacts` the place of artifacts where MLflow is a
    bare database.
    """

    def __init__(
        self, store: ArtifactStore, uri: str, *, cursors: Path, artifacts: Path | None = None
    ) -> None:
        self.store = store
        self.uri = uri
        self.error: str | None = None
        """Why the last call could not send everything."""
        self.links: dict[str, str] = {}
        """Pages of the run shipped last, and MLflow's id of it."""
        self._cursors = LocalStore(cursors)
        self._artifacts = artifacts
        self._curves: dict[str, Curve] = {}
        self._saved: dict[str, bytes] = {}
        self._connection: tuple[MlflowClient, Experiment] | None = None

    def ship(self, run: RunSnapshot) -> bool:
        """Send what MLflow lacks of a run; False where something is left for the next call: MLflow
        is away, or the store that the journals lie in.
        """
        self.links = {}
        try:
            self._ship(run)
        except (MlflowException, SQLAlchemyError, OSError, StageFailure) as error:
            self.error = self._reason(error)
            self._curves.clear()
            self._connection = None
            return False
        self.error = None
        return True

    def _reason(self, error: Exception) -> str:
        reason = str(error).splitlines()[0]
        return f"{self.uri} does not answer" if "Max retries" in reason else reason[:300]

    def forget(self, run_id: str) -> None:
        """Drop the cursor of a run, so that all of it is compared and sent again."""
        self._cursors.delete(f"{run_id}.json")
        self._saved.pop(run_id, None)

    def _ship(self, run: RunSnapshot) -> None:
        client, experiment = self._connect()
        cursor = self._open_cursor(client, experiment, run)
        self.links = {"mlflow_run": cursor.parent}
        if self.uri.startswith("http"):
            base = f"{self.uri.rstrip('/')}/#/experiments/{experiment.experiment_id}"
            self.links["mlflow"] = f"{base}/runs/{cursor.parent}?{MODE}"
        for position, step in enumerate(run.steps):
            if step.key is not None and step.state not in {"pending", "skipped"}:
                self._ship_step(run, step, position, cursor)
                self._save(run.id, cursor)
        if cursor.state != run.state:
            self._ship_state(client, cursor, run)
            self._save(run.id, cursor)

    def _connect(self) -> tuple[MlflowClient, Experiment]:
        if self._connection is None:
            client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            experiment = client.get_experiment_by_name(EXPERIMENT)
            if experiment is None:
                bare = self._artifacts if not self.uri.startswith("http") else None
                place = bare.absolute().as_uri() if bare else None
                client.create_experiment(EXPERIMENT, artifact_location=place)
                experiment = client.get_experiment_by_name(EXPERIMENT)
            assert experiment is not None
            if KIND[0] not in experiment.tags:
                client.set_experiment_tag(experiment.experiment_id, *KIND)
            self._connection = client, experiment
        return self._connection

    def _open_cursor(
        self, client: MlflowClient, experiment: Experiment, run: RunSnapshot
    ) -> Cursor:
        saved = self._cursors.read(f"{run.id}.json")
        if saved is not None:
            values = json.loads(saved)
            steps = {name: Shipped(**shipped) for name, shipped in values["steps"].items()}
            cursor = Cursor(values["parent"], values["state"], steps)
            if values["uri"] == self.uri and _exists(client, experiment, run.id, cursor.parent):
                return cursor
        self._curves.clear()
        cursor = Cursor()
        for found in client.search_runs(
            [experiment.experiment_id], f"tags.`strata.run_id` = '{run.id}'", max_results=1000
        ):
            tags = found.data.tags
            if "strata.step" in tags:
                name = f"{tags['strata.step']}:{tags['strata.key']}"
                cursor.steps[name] = Shipped(found.info.run_id)
            else:
                cursor.parent = found.info.run_id
        if not cursor.parent:
            cursor.parent = self._create_parent(client, experiment, run)
        self._save(run.id, cursor)
        return cursor

    def _create_parent(self, client: MlflowClient, experiment: Experiment, run: RunSnapshot) -> str:
        tags = {
            "strata.run_id": run.id,
            "strata.recipe": run.recipe,
            "strata.code_commit": run.commit,
            **_source(run),
        }
        created = client.create_run(
            experiment.experiment_id, int(run.created * 1000), tags=tags, run_name=run.id
        )
        # Resources say where a step was made; they may change when a run is continued.
        resolved = {name: value for name, value in run.resolved.items() if name != "resources"}
        log_params(client, created.info.run_id, resolved)
        return created.info.run_id

    def _ship_step(
        self, run: RunSnapshot, step: StepSnapshot, position: int, cursor: Cursor
    ) -> None:
        client, _ = self._connect()
        assert step.key is not None
        name = f"{step.step}:{step.key}"
        shipped = cursor.steps.get(name)
        final = step.state in _MLFLOW_STATE
        if shipped is not None and final and shipped.state == step.state:
            return
        if shipped is None:
            shipped = cursor.steps[name] = Shipped(self._child(run, step, cursor.parent))
            self._save(run.id, cursor)
        self._ship_curve(client, name, step, shipped)
        tags = [RunTag(key, value) for key, value in self._attempt_tags(step).items()]
        client.log_batch(shipped.run, tags=tags)
        if not final:
            return
        manifest = self.store.manifest(step.stage, step.key)
        if manifest is not None and step.state in {"done", "cached"}:
            self._ship_artifact(run, manifest, position, (cursor, shipped))
        ended = int(step.ended * 1000) if step.ended else None
        client.set_terminated(shipped.run, _MLFLOW_STATE[step.state], ended)
        shipped.state = step.state

    def _child(self, run: RunSnapshot, step: StepSnapshot, parent: str) -> str:
        """Return MLflow's id of a step's run, made unless an earlier request did, whose answer was
        lost on the way.
        """
        client, experiment = self._connect()
        mine = {"strata.run_id": run.id, "strata.step": step.step, "strata.key": step.key}
        wanted = " AND ".join(f"tags.`{name}` = '{value}'" for name, value in mine.items())
        for found in client.search_runs([experiment.experiment_id], wanted, max_results=1):
            return found.info.run_id
        tags = _step_tags(run, step) | {"mlflow.parentRunId": parent}
        at = int((step.started or run.created) * 1000)
        made = client.create_run(experiment.experiment_id, at, tags=tags, run_name=step.step)
        return made.info.run_id

    def _ship_curve(
        self, client: MlflowClient, name: str, step: StepSnapshot, shipped: Shipped
    ) -> None:
        assert step.key is not None
        curve = self._curves.setdefault(name, Curve(shipped.highest))
        journals = [
            attempt.fetch_journal() for attempt in self.store.attempts(step.stage, step.key)
        ]
        points = curve.advance(journals)
        metrics = [Metric(metric_name(p.name), p.value, int(p.time * 1000), p.step) for p in points]
        for start in range(0, len(metrics), BATCH):
            client.log_batch(shipped.run, metrics=metrics[start : start + BATCH])
        shipped.highest = dict(curve.highest)

    def _ship_artifact(
        self, run: RunSnapshot, manifest: Manifest, position: int, where: tuple[Cursor, Shipped]
    ) -> None:
        client, experiment = self._connect()
        cursor, shipped = where
        log_params(client, shipped.run, manifest.config)
        tags = {
            "strata.digest": manifest.digest,
            "strata.code_digest": manifest.code_digest,
            "strata.numerics": json.dumps(manifest.numerics, sort_keys=True),
            "strata.exceptions": ", ".join(manifest.exceptions),
        }
        client.log_batch(shipped.run, tags=[RunTag(key, value) for key, value in tags.items()])
        models.log_inputs(client, shipped.run, manifest, self.store)
        scores = self.store.read_file(manifest, "scores.json")
        place = models.Place(client, experiment.experiment_id, shipped.run, cursor.parent)
        if models.is_checkpoint(manifest):
            shipped.model = models.log_checkpoint(place, manifest, self.store.address(manifest))
        models.log_results(place, manifest, scores, position, _tested(manifest, cursor))
        if models.is_release(manifest):
            models.register(place, run.recipe, manifest, self.store)

    def _attempt_tags(self, step: StepSnapshot) -> dict[str, str]:
        assert step.key is not None
        tags = {"strata.state": step.state, "strata.reason": step.reason[:VALUE_LENGTH]}
        if step.cause:
            tags["strata.cause"] = step.cause[:VALUE_LENGTH]
        for attempt in self.store.attempts(step.stage, step.key):
            result = attempt.record("result") or {}
            code = result.get("code", "running")
            tags[f"strata.attempt.{attempt.number}"] = f"exit {code}" if result else "no result yet"
        return tags

    def _ship_state(self, client: MlflowClient, cursor: Cursor, run: RunSnapshot) -> None:
        if run.state == "running":
            client.update_run(cursor.parent, status="RUNNING")
        else:
            ended = int(run.ended * 1000) if run.ended else None
            client.set_terminated(cursor.parent, _MLFLOW_STATE[run.state], ended)
        tags = {f"strata.link.{name}": link for name, link in run.links.items()}
        tags["mlflow.note.content"] = note(run)
        client.log_batch(cursor.parent, tags=[RunTag(key, value) for key, value in tags.items()])
        cursor.state = run.state

    def _save(self, run_id: str, cursor: Cursor) -> None:
        data = json.dumps({"uri": self.uri, **asdict(cursor)}).encode()
        if (
            self._saved.get(run_id) != data
        ):  # a write waits for the disk, and most calls send nothing
            self._cursors.write(f"{run_id}.json", data)
            self._saved = {run_id: data}


def note(run: RunSnapshot) -> str:
    """Return what MLflow shows as a run's description: where else it can be looked at."""
    pages = [
        f"[{title}]({run.links[name]})"
        for name, title in (("dashboard", "Dashboard"), ("prefect", "Prefect"))
        if run.links.get(name, "").startswith("http")
    ]
    return " · ".join([f"Pipeline run of the recipe `{run.recipe}`, one child run a step", *pages])


def metric_name(name: str) -> str:
    """Return a name that MLflow accepts: other characters than its own become `_`."""
    kept = "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name)
    return kept[:KEY_LENGTH]


def log_params(client: MlflowClient, run: str, values: dict[str, Any]) -> None:
    """Log nested values as parameters with dotted names, cut to MLflow's limits."""
    params = [
        Param(metric_name(name), text if len(text) <= VALUE_LENGTH else f"{text[:5990]}...")
        for name, text in flatten(values)
    ]
    for start in range(0, len(params), PARAMS):
        client.log_batch(run, params=params[start : start + PARAMS])


def flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted names with values as text; lists stay whole, as JSON."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


def _tested(manifest: Manifest, cursor: Cursor) -> str | None:
    """Return the logged model that an artifact's scores are about, if they are about one."""
    keys = {record.key for record in manifest.inputs if record.name == "checkpoint"}
    models_ = [s.model for name, s in cursor.steps.items() if name.partition(":")[2] in keys]
    return models_[0] if models_ and manifest.stage == "evaluate" else None


def _exists(client: MlflowClient, experiment: Experiment, run_id: str, parent: str) -> bool:
    found = client.search_runs(
        [experiment.experiment_id],
        f"attributes.run_id = '{parent}' AND tags.`strata.run_id` = '{run_id}'",
    )
    return bool(found)


def _step_tags(run: RunSnapshot, step: StepSnapshot) -> dict[str, str]:
    return {
        "strata.run_id": run.id,
        "strata.step": step.step,
        "strata.stage": step.stage,
        "strata.key": step.key or "",
        "strata.code_commit": run.commit,
        **_source(run),
    }


def _source(run: RunSnapshot) -> dict[str, str]:
    """Return the tags that fill MLflow's columns for the source of a run."""
    tags = {"mlflow.source.name": f"strata run {run.recipe}", "mlflow.source.type": "LOCAL"}
    return tags | ({"mlflow.source.git.commit": run.commit} if run.commit else {})
