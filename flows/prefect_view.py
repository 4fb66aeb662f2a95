"""What Prefect's page of a flow run shows besides its tasks: progress, links, a step table, a log.

A view, like all of Prefect here: where its API does not take something the run goes on, and says so
once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import LogCreate
from prefect.futures import PrefectFuture, wait

from flows.context import Run
from flows.display import duration
from flows.runs import RunRecord

EVERY_SECONDS = 4.0
_INFO = 20
_WORDS = {"done": "is done", "running": "runs"}


def follow(run: Run, futures: Sequence[PrefectFuture[Any]], flow_run_id: str) -> None:
    """Wait for every step and keep the page of the flow run up to date."""
    view: _View | None = None
    try:
        view = _View(run, flow_run_id)
        while wait(list(futures), timeout=EVERY_SECONDS).not_done:
            view.update()
        view.update()
        view.sum_up()
    except httpx.HTTPError as error:
        run.board.say("prefect", f"its page lacks a part of this run ({type(error).__name__})")
    wait(list(futures))


def name_page(flow_run_id: str | None, run_id: str) -> None:
    """Give a flow run the name of the run that it carries out, by which `submission` finds it."""
    with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
        client.update_flow_run(UUID(flow_run_id), name=run_id)


class _View:
    """Hold what the page shows already."""

    def __init__(self, run: Run, flow_run_id: str) -> None:
        self._run = run
        self._flow_run = UUID(flow_run_id) if flow_run_id else None
        self._states: dict[str, str] = {}
        self._said = 0
        record = run.register.run
        self._links = links(record)
        self._where()
        self._progress: Any = create_progress_artifact(
            finished(record), key="progress", description="Steps of the run that are finished."
        )

    def update(self) -> None:
        """Send what is new since the last call."""
        record = self._run.register.run
        messages = self._run.board.messages[self._said :]
        self._said += len(messages)
        lines = [*changes(record, self._states), *messages]
        if not lines:
            return
        self._states = {name: step.state for name, step in record.steps.items()}
        about: dict[str, Any] = {"name": "strata", "level": _INFO, "timestamp": datetime.now(UTC)}
        about["flow_run_id"] = self._flow_run
        with get_client(sync_client=True) as client:
            client.create_logs(
                LogCreate.model_validate({**about, "message": line}) for line in lines
            )
        update_progress_artifact(self._progress, finished(record))

    def sum_up(self) -> None:
        """Show the table of steps, and the links that became known during the run."""
        record = self._run.register.run
        create_table_artifact(
            step_table(record), key="steps", description="How every step of the run ended."
        )
        if links(record) != self._links:
            self._where()

    def _where(self) -> None:
        record = self._run.register.run
        create_markdown_artifact(
            links(record), key="where-to-look", description="Pages that show more of this run."
        )


def links(record: RunRecord) -> str:
    """Return the pages of a run as Markdown."""
    names = {"dashboard": "Dashboard", "mlflow": "MLflow"}
    known = [
        f"- [{title}]({record.links[name]})"
        for name, title in names.items()
        if record.links.get(name, "").startswith("http")
    ]
    return "\n".join([f"Run `{record.id}` of the recipe `{record.recipe}`.", "", *known])


def finished(record: RunRecord) -> float:
    """Return the part of the steps that are finished, in per cent."""
    ended = sum(step.state in {"done", "cached"} for step in record.steps.values())
    return round(100 * ended / max(1, len(record.steps)), 1)


def changes(record: RunRecord, before: Mapping[str, str]) -> list[str]:
    """Say which steps have another state than before, in the order in which they changed."""
    changed = [
        (step.ended or step.started or 0.0, name)
        for name, step in record.steps.items()
        if step.state != before.get(name, "pending")
    ]
    cached = [name for name, step in record.steps.items() if step.state == "cached"]
    new = [name for name in cached if before.get(name) != "cached"]
    lines = [f"used again: {', '.join(new)}"] if new else []
    for _, name in sorted(pair for pair in changed if pair[1] not in cached):
        step = record.steps[name]
        took = f" after {duration(step.seconds)}" if step.seconds and step.ended else ""
        why = step.cause or (step.reason if step.state == "running" else "")
        told = f": {why}" if why else ""
        lines.append(f"{name} {_WORDS.get(step.state, step.state)}{took}{told}")
    return lines


def step_table(record: RunRecord) -> list[dict[str, str]]:
    """Return one row a step: how it ended, how long it took, its artifact and why it was made."""
    return [
        {
            "step": name,
            "state": step.state,
            "time": duration(step.seconds) if step.seconds else "",
            "attempt": str(step.attempt or ""),
            "artifact": (step.key or "")[:12],
            "why": step.cause or step.reason,
        }
        for name, step in record.steps.items()
    ]
