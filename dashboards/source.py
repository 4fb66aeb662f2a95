"""What the views read, cached for as long as it stays true: the one place where Streamlit meets
the queries.

Lists are kept for two seconds, so that a change shows within five; what a committed artifact holds
never changes and is kept until memory is needed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from components.artifacts.manifest import Manifest
from components.artifacts.store import ArtifactStore, open_store
from components.catalog import queries as catalog_queries
from components.catalog.queries import ArtifactRow, Lineage
from components.catalog.session import Catalog, open_catalog
from components.contract import NotFound
from components.settings import Settings
from components.settings import settings as read_settings
from dashboards import checkpoint_scores, conversations, corpus, journals, queries, services
from dashboards.checkpoint_scores import CheckpointScores, Gain
from dashboards.conversations import Entry
from dashboards.journals import Curve
from dashboards.queries import Progress, RunDetail, RunPage
from dashboards.services import Service


def settings() -> Settings:
    """Return this installation's settings."""
    return read_settings()


@st.cache_resource
def _catalog(url: str) -> Catalog:
    return open_catalog(url)


def catalog() -> Catalog:
    """Return the catalog, opened once a process."""
    return _catalog(settings().catalog_url)


def store() -> ArtifactStore:
    """Return the artifact store."""
    return open_store(settings())


@st.cache_data(ttl=2, max_entries=32, show_spinner=False)
def _run_page(url: str, page: int, size: int, recipe: str | None, state: str | None) -> RunPage:
    return queries.run_page(_catalog(url), page=page, size=size, recipe=recipe, state=state)


def run_page(page: int, size: int, recipe: str | None, state: str | None) -> RunPage:
    """Return one page of the list of runs."""
    return _run_page(settings().catalog_url, page, size, recipe, state)


@st.cache_data(ttl=1.5, max_entries=16, show_spinner=False)
def _run_detail(url: str, run_id: str) -> RunDetail:
    return queries.run_detail(_catalog(url), run_id)


def run_detail(run_id: str) -> RunDetail:
    """Return one run; raises NotFound or BadInput."""
    return _run_detail(settings().catalog_url, run_id)


def has_run(run_id: str) -> bool:
    """Whether there is such a run by now."""
    try:
        run_detail(run_id)
    except NotFound:
        return False
    return True


@st.cache_data(ttl=60, max_entries=256, show_spinner=False)
def _scores(url: str, run_id: str, scored: tuple[str, ...]) -> tuple[CheckpointScores, ...]:
    del scored  # part of the cache's key: read again when another checkpoint is scored
    return checkpoint_scores.scores_of_run(_catalog(url), store(), run_id)


def scores(detail: RunDetail) -> tuple[CheckpointScores, ...]:
    """Return the scores of a run's checkpoints."""
    scored = tuple(s.digest for s in detail.steps if s.stage == "evaluate" and s.digest)
    return _scores(settings().catalog_url, detail.run.id, scored)


@st.cache_data(ttl=60, max_entries=64, show_spinner=False)
def _gains(url: str, run_id: str, scored: tuple[str, ...]) -> tuple[Gain, ...]:
    del scored  # part of the cache's key, as above
    return checkpoint_scores.gains_of_run(_catalog(url), store(), run_id)


def gains(detail: RunDetail) -> tuple[Gain, ...]:
    """Return what each checkpoint of a run gained on the one before."""
    scored = tuple(s.digest for s in detail.steps if s.stage == "evaluate" and s.digest)
    return _gains(settings().catalog_url, detail.run.id, scored)


def progress(detail: RunDetail) -> dict[str, Progress]:
    """Return how far each running step has come, by step."""
    found = {step.step: queries.step_progress(store(), step) for step in detail.steps}
    return {step: one for step, one in found.items() if one is not None}


@st.cache_data(max_entries=128, show_spinner=False)
def _curves(path: str, stage: str, key: str, step: str, change: tuple[int, int]) -> list[Curve]:
    del path, change  # part of the cache's key: read again when a journal has grown
    return journals.curves(store(), stage, key, step)


def curves(stage: str, key: str, step: str) -> list[Curve]:
    """Return the curves of a step."""
    change = journals.newest_change(store(), stage, key)
    return _curves(settings().store_uri, stage, key, step, change)


@st.cache_data(ttl=2, max_entries=64, show_spinner=False)
def _artifacts(url: str, stage: str | None, limit: int) -> list[ArtifactRow]:
    return catalog_queries.artifacts(_catalog(url), stage=stage, limit=limit)


def artifacts(stage: str | None = None, limit: int = 50) -> list[ArtifactRow]:
    """List the newest artifacts."""
    return _artifacts(settings().catalog_url, stage, limit)


@st.cache_data(ttl=2, max_entries=32, show_spinner=False)
def _lineage(url: str, key: str) -> Lineage:
    return queries.artifact_lineage(_catalog(url), key)


def lineage(key: str) -> Lineage:
    """Return an artifact with its lineage; raises NotFound or BadInput."""
    return _lineage(settings().catalog_url, key)


def manifest(artifact: ArtifactRow) -> Manifest | None:
    """Return an artifact's manifest; None where it was set aside."""
    return store().manifest(artifact.stage, artifact.key)


@st.cache_data(max_entries=6, show_spinner=False)
def conversation_index(path: Path, size: int) -> list[Entry]:
    """List the conversations of a file; `size` is part of the cache's key."""
    del size
    return conversations.index(path)


@st.cache_data(max_entries=24, show_spinner=False)
def documents(path: Path, first: int, count: int) -> list[dict[str, Any]]:
    """Read rows of a corpus file."""
    return corpus.documents(path, first, count)


def all_services() -> tuple[Service, ...]:
    """Return the servers of this installation."""
    return services.services(settings())


@st.cache_data(ttl=10, max_entries=4, show_spinner=False)
def answering(found: tuple[Service, ...]) -> dict[str, bool]:
    """Ask each server whether it is well, at most every ten seconds."""
    return {service.name: services.answers(service) for service in found}


def run_links(run_id: str) -> dict[str, str]:
    """Return where Prefect and MLflow show a run, as its record in the store says."""
    data = store().objects.read(f"runs/{run_id}/run.json")
    try:
        return json.loads(data).get("links", {}) if data else {}
    except ValueError:
        return {}


def compare_link(details: Sequence[RunDetail]) -> str | None:
    """Return where MLflow compares these runs; None where one of them never reached a server."""
    mlflow = next((service for service in all_services() if service.name == "MLflow"), None)
    runs = [detail.run.mlflow_run_id for detail in details]
    pages = [run_links(detail.run.id).get("mlflow", "") for detail in details]
    experiment = services.experiment_of(pages[0])
    known = [run for run in runs if run]
    if mlflow is None or experiment is None or len(known) < len(runs):
        return None
    return services.compare_url(mlflow, known, experiment)
