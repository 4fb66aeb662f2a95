"""The parts of a step that MLflow has nouns for: data it read, models it made, scores, releases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
)
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from components.artifacts.manifest import Manifest
from components.artifacts.store import ArtifactStore

ALIAS = "released"
"""Registry alias of the newest release of a recipe."""
DIGEST_LENGTH = 36
"""MLflow's limit; whole digests are in the tag `strata.digest`."""
WEIGHTS = "model.safetensors"
RELEASE_STAGE = "export"


@dataclass(frozen=True)
class Place:
    """Point at the MLflow run that something belongs to."""

    client: MlflowClient
    experiment: str
    run: str
    parent: str


def is_release(manifest: Manifest) -> bool:
    """Tell whether an artifact is a model for users."""
    return manifest.stage == RELEASE_STAGE


def is_checkpoint(manifest: Manifest) -> bool:
    """Tell whether an artifact is a model that training made."""
    return not is_release(manifest) and any(file.path == WEIGHTS for file in manifest.files)


def log_inputs(client: MlflowClient, run: str, manifest: Manifest, store: ArtifactStore) -> None:
    """Log each input and each outside source of an artifact with its digest."""
    inputs = [
        _dataset(record.step, record.digest, {"stage": record.stage, "key": record.key})
        for record in manifest.inputs
    ]
    names = [record.name for record in manifest.inputs]
    inputs += [_dataset(source, held, {}) for source, held in manifest.revisions.items()]
    names += ["source"] * len(manifest.revisions)
    if inputs:
        tagged = [
            DatasetInput(dataset, [InputTag("mlflow.data.context", name)])
            for dataset, name in zip(inputs, names, strict=True)
        ]
        client.log_inputs(run, tagged)


def log_checkpoint(place: Place, manifest: Manifest, address: str) -> str:
    """Log a checkpoint as a model of its run and return the model's id; one model a key."""
    known = place.client.search_logged_models(
        [place.experiment], f"tags.`strata.key` = '{manifest.key}'"
    )
    if known:
        model = known[0].model_id
    else:
        created = place.client.create_logged_model(
            place.experiment,
            name=_model_name(manifest.step),
            source_run_id=place.run,
            tags={
                "strata.key": manifest.key,
                "strata.digest": manifest.digest,
                "strata.step": manifest.step,
                "strata.uri": address,
            },
            params={name: str(value) for name, value in manifest.facts.items()},
            model_type=manifest.stage,
        )
        model = created.model_id
        place.client.finalize_logged_model(model, "READY")
    # Unlike metrics, a link between a run and a model must not be sent twice.
    outputs = place.client.get_run(place.run).outputs
    if model not in [made.model_id for made in (outputs.model_outputs if outputs else [])]:
        place.client.log_outputs(place.run, [LoggedModelOutput(model, 0)])
    return model


def log_results(
    place: Place, manifest: Manifest, scored: bytes | None, position: int, model: str | None
) -> None:
    """Log an artifact's numeric facts and, where it holds scores, those (`scores.json`).

    Scores go to the step's run and the tested model as `eval/<task>/<value, low, high, n>`, and to
    the parent run as `eval/<task>/value` over the steps of the recipe and as
    `scores/<checkpoint>/<task>`, so that two pipeline runs compare without opening their steps.
    """
    at = int(manifest.ended * 1000)
    metrics = [Metric(f"facts/{name}", value, at, 0) for name, value in _numbers(manifest.facts)]
    metrics.append(Metric("perf/seconds", manifest.seconds, at, 0))
    total: list[Metric] = [Metric(f"seconds/{manifest.step}", manifest.seconds, at, 0)]
    if scored is not None:
        scores: dict[str, dict[str, float]] = json.loads(scored)
        checkpoint = manifest.step.removeprefix("scores.")
        for task, score in scores.items():
            metrics += [
                Metric(_name(f"eval/{task}/{part}"), value, at, 0, model_id=model)
                for part, value in _numbers(score)
            ]
            total.append(Metric(_name(f"eval/{task}/value"), score["value"], at, position))
            total.append(Metric(_name(f"scores/{checkpoint}/{task}"), score["value"], at, 0))
    inputs = place.client.get_run(place.run).inputs
    if model and model not in [read.model_id for read in (inputs.model_inputs if inputs else [])]:
        place.client.log_inputs(place.run, models=[LoggedModelInput(model)])
    for run, rows in ((place.run, metrics), (place.parent, total)):
        for start in range(0, len(rows), 1000):
            place.client.log_batch(run, metrics=rows[start : start + 1000])


def register(place: Place, recipe: str, manifest: Manifest, store: ArtifactStore) -> str:
    """Register a released model with an alias and return its version; equal content has one
    version.

    MLflow takes a bucket as a version's source, but no path outside its own artifacts: from a local
    store the folder is logged as an artifact of its run first.
    """
    name = f"strata-{recipe}"
    try:
        place.client.create_registered_model(name, tags={"strata.recipe": recipe})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    for version in place.client.search_model_versions(f"name = '{name}'"):
        if version.tags.get("strata.digest") == manifest.digest:
            place.client.set_registered_model_alias(name, ALIAS, version.version)
            return str(version.version)
    source = store.address(manifest)
    if not source.startswith("s3://"):
        place.client.log_artifacts(place.run, str(store.files(manifest)), "model")
        source = f"{place.client.get_run(place.run).info.artifact_uri}/model"
    made = place.client.create_model_version(
        name,
        source=source,
        run_id=place.run,
        tags={"strata.digest": manifest.digest, "strata.key": manifest.key},
    )
    place.client.set_registered_model_alias(name, ALIAS, made.version)
    return str(made.version)


def _dataset(name: str, digest: str, source: dict[str, str]) -> Dataset:
    held = json.dumps({**source, "digest": digest})
    return Dataset(name[:500], digest[:DIGEST_LENGTH] or "-", "strata", held)


def _numbers(values: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)


def _name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in text)[:250]


def _model_name(step: str) -> str:
    return "".join("-" if c in "/:.%\"'" else c for c in step)
