"""The only Prefect task: one step of a run.

Prefect shows the step and lets it wait for its inputs. It does not retry, cache or keep results:
retries belong to `attempts`, reuse to the store, and both hold when Prefect is away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.produce import ArtifactRef


@task(
    name="step",  # replaced by the step's when submitted: a task that waits shows it
    task_run_name="{name}",
    retries=0,
    cache_policy=NO_CACHE,
    persist_result=False,
    log_prints=False,
)
def run_step(
    name: str, inputs: dict[str, Any], make: Callable[[dict[str, Any]], ArtifactRef]
) -> ArtifactRef:
    """Make one step from the artifacts its inputs have become.

    `make` is `produce` with its run and step bound: reuse, launch, watch, retry.
    """
    del name
    return make(inputs)
