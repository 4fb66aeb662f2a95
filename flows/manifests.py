"""The manifests that a run would send to a cluster, without sending them."""

from __future__ import annotations

from typing import Any

from components.execution.cluster_settings import ClusterSettings
from components.execution.job_manifest import manifests
from components.execution.request import StageRequest
from flows.plan import Plan, PlannedStep
from flows.run import Job

UNKNOWN_KEY = "0" * 64
"""Stands for the key of a step that depends on another's content, which is not known yet."""


def render(job: Job, plan: Plan, cluster: ClusterSettings, store: str) -> list[dict[str, Any]]:
    """Return the manifests of every step that the plan would make, in its order."""
    return [
        manifest
        for name in plan.pending
        for manifest in manifests(_request(job, plan.steps[name], store), cluster)
    ]


def _request(job: Job, step: PlannedStep, store: str) -> StageRequest:
    return StageRequest(
        table=job.table,
        stage=step.stage.name,
        step=step.name,
        config=step.config.model_dump(mode="json"),
        inputs=(),
        key=step.key or UNKNOWN_KEY,
        code_digest="",
        run="dry-run",
        attempt=1,
        resources=job.resources_of(step.name),
        store=store,
    )
