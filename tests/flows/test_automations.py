"""Automations in a real Prefect: made once, kept as the user left them, and set off by a run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import get_current_settings

from components.contract import BadInput, EnvironmentMissing, NotFound
from components.settings import Settings
from flows.automations import (
    FAILED,
    HEARTBEAT_SECONDS,
    OUR_RUNS,
    QUEUED,
    ZOMBIE,
    ZOMBIE_SECONDS,
    automate,
)
from flows.deployments import deploy
from flows.servers import private_prefect_server
from flows.train import FLOW_NAME

FAILING_RUN = f"""
from prefect import flow, task

@task
def agent():
    raise RuntimeError("the step fails")

@flow(name={FLOW_NAME!r})
def run():
    agent()

@flow(name="another-flow")
def another():
    agent()

for each in (another, run):
    try:
        each()
    except RuntimeError:
        pass
"""


@pytest.fixture(scope="module")
def prefect(tmp_path_factory, prefect_home) -> Iterator[Settings]:
    settings = Settings(home=prefect_home(tmp_path_factory.mktemp("automations") / "home"))
    with private_prefect_server(settings) as url:
        yield settings.model_copy(update={"prefect": url})


def ask(prefect: Settings, path: str, body: dict[str, Any] | None = None, verb: str = "") -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        prefect.prefect + path,
        data,
        {"Content-Type": "application/json"},
        method=verb or ("GET" if data is None else "POST"),
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        text = response.read()
        return json.loads(text) if text else None


def automations(prefect: Settings) -> dict[str, dict[str, Any]]:
    found = ask(prefect, "/automations/filter", {})
    named = {each["name"]: each for each in found}
    assert len(named) == len(found), "one name, one automation"
    return named


def test_a_deployment_brings_them_once(prefect):
    for _ in range(2):
        deploy(prefect, "ci")
    assert set(automations(prefect)) == {FAILED, QUEUED, ZOMBIE}


def test_doubles_of_two_workers_are_removed(prefect):
    deploy(prefect, "ci")
    double = automations(prefect)[QUEUED]
    for field in ("id", "created", "updated"):
        double.pop(field)
    ask(prefect, "/automations/", double)
    deploy(prefect, "ci")
    assert set(automations(prefect)) == {FAILED, QUEUED, ZOMBIE}


def test_one_that_was_switched_off_stays_off(prefect):
    deploy(prefect, "ci")
    ask(prefect, f"/automations/{automations(prefect)[QUEUED]['id']}", {"enabled": False}, "PATCH")
    deploy(prefect, "ci")
    states = {name: each["enabled"] for name, each in automations(prefect).items()}
    assert states == {FAILED: True, QUEUED: False, ZOMBIE: True}


def test_a_flow_run_counts_as_dead_after_three_heartbeats_at_the_earliest(prefect):
    assert get_current_settings().flows.heartbeat_frequency == HEARTBEAT_SECONDS
    assert ZOMBIE_SECONDS >= 3 * HEARTBEAT_SECONDS
    deploy(prefect, "ci")
    zombie = automations(prefect)[ZOMBIE]
    assert zombie["trigger"]["within"] == ZOMBIE_SECONDS
    assert zombie["trigger"]["posture"] == "Proactive"
    assert zombie["actions"][0]["type"] == "change-flow-run-state"


def test_they_watch_our_flow():
    assert OUR_RUNS["prefect.resource.name"] == FLOW_NAME


def test_a_named_block_is_told_and_stays_until_another_is_named(prefect):
    (kind,) = [
        each
        for each in ask(prefect, "/block_types/filter", {"limit": 200})
        if each["slug"] == "slack-webhook"
    ]
    schemas = ask(
        prefect,
        "/block_schemas/filter",
        {"block_schemas": {"block_type_id": {"any_": [kind["id"]]}}},
    )
    blocks = {}
    for name in ("team", "night"):
        block = {
            "name": name,
            "block_type_id": kind["id"],
            "block_schema_id": schemas[0]["id"],
            "data": {"url": "http://127.0.0.1:9/never-called"},
        }
        blocks[name] = ask(prefect, "/block_documents/", block)["id"]

    def told() -> set[str]:
        return {
            action["block_document_id"]
            for each in automations(prefect).values()
            for action in each["actions"]
            if action["type"] == "send-notification"
        }

    automate(prefect, "slack-webhook/team")
    assert told() == {blocks["team"]}
    deploy(prefect, "ci")
    assert told() == {blocks["team"]}
    automate(prefect, "slack-webhook/night")
    assert told() == {blocks["night"]}


def test_what_does_not_hold_is_refused(prefect, tmp_path):
    with pytest.raises(BadInput, match="TYPE/NAME"):
        automate(prefect, "team")
    with pytest.raises(NotFound, match="slack-webhook/nobody"):
        automate(prefect, "slack-webhook/nobody")
    with pytest.raises(EnvironmentMissing, match="strata up"):
        automate(Settings(home=tmp_path), "slack-webhook/team")


def test_a_step_that_fails_sets_it_off_and_another_flow_does_not(prefect):
    deploy(prefect, "ci")
    failed = automations(prefect)[FAILED]["id"]
    subprocess.run(
        [sys.executable, "-c", FAILING_RUN],
        env={
            "PATH": "/usr/bin:/bin",
            "PREFECT_API_URL": prefect.prefect,
            "PREFECT_HOME": str(prefect.home / "prefect"),
            "HOME": str(prefect.home),
            "PYTHONPATH": str(Path.cwd()),
        },
        check=True,
        capture_output=True,
    )
    wanted = {"filter": {"event": {"name": ["prefect.automation.triggered"]}}}
    deadline = time.monotonic() + 60
    while True:
        events = ask(prefect, "/events/filter", wanted)["events"]
        if events or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    about = {each["resource"]["prefect.resource.id"] for each in events}
    assert about == {f"prefect.automation.{failed}"}
    assert len(events) == 1
