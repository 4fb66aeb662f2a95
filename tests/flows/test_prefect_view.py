"""A flow run's page: logs, progress, links and the step table, asked of a real Prefect."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from typing import Any

import pytest

from components.artifacts.store import open_store
from components.settings import Settings
from flows.engine import with_prefect
from flows.prefect_view import changes, finished, links, step_table
from flows.run import carry_out, make_plan
from flows.runs import RunRecord, StepRecord
from flows.servers import private_prefect_server
from tests.sample_pipeline import job


def record(**links_: str) -> RunRecord:
    steps = {
        "corpus": StepRecord(position=0, stage="corpus", state="cached", reason="made by run x"),
        "agent": StepRecord(
            position=1, stage="rl", state="failed", started=10.0, ended=75.0, cause="not finite"
        ),
        "release": StepRecord(position=2, stage="export"),
    }
    return RunRecord(
        id="r-1", recipe="ci", identity="", resolved={}, created=1.0, steps=steps, links=links_
    )


def test_changes_are_told_once_and_with_their_cause() -> None:
    found = changes(record(), {})
    assert found == [
        "used again: corpus",
        "agent failed after 1:05: not finite",
    ]
    assert changes(record(), {"corpus": "cached", "agent": "failed"}) == []


def test_the_page_links_only_to_pages() -> None:
    text = links(record(dashboard="http://d/run?run=r-1", mlflow_run="77"))
    assert "[Dashboard](http://d/run?run=r-1)" in text
    assert "MLflow" not in text
    assert finished(record()) == 33.3
    assert [row["step"] for row in step_table(record())] == ["corpus", "agent", "release"]
    assert step_table(record())[1]["why"] == "not finite"


@pytest.mark.slow
def test_prefect_shows_names_logs_and_artifacts_of_a_run(tmp_path, prefect_home) -> None:
    settings = Settings(home=prefect_home(tmp_path / "home"))
    with private_prefect_server(settings) as url:
        here = settings.model_copy(update={"prefect": url})
        asked = job()
        plan = make_plan(asked, open_store(here))
        done = carry_out(
            asked, here, plan, engine=with_prefect, watcher=lambda _: contextlib.nullcontext()
        )
        flow_run = done.record.links["prefect_flow_run"]
        logs = _ask(url, "logs/filter", {"logs": {"flow_run_id": {"any_": [flow_run]}}})
        artifacts = _ask(
            url, "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [flow_run]}}}
        )
        tasks = _ask(url, "task_runs/filter", {"flow_runs": {"id": {"any_": [flow_run]}}})
    said = [log["message"] for log in logs]
    assert all(any(line.startswith(f"{step} is done") for line in said) for step in done.executed)
    by_key: dict[str, Any] = {artifact["key"]: artifact["data"] for artifact in artifacts}
    assert by_key["progress"] == 100
    assert [row["step"] for row in json.loads(by_key["steps"])] == list(done.record.steps)
    assert done.record.id in by_key["where-to-look"]
    assert {task["name"] for task in tasks} == set(done.record.steps)


def _ask(url: str, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{url}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)
