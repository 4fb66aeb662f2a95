"""Deployments in a real Prefect: the form, a schedule, a flow run that a worker carries out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from components.contract import BadInput, EnvironmentMissing, NotFound, Resources
from components.settings import Settings
from flows.deployments import deploy, wait_for_prefect
from flows.recipe import resolve
from flows.server_processes import free_port
from flows.server_programs import answers
from flows.servers import private_prefect_server
from flows.submission import RunEnded, follow, submit
from flows.train import FLOW_NAME, Place
from tests.processes import wait_until


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    for patience in range(5, -1, -1):
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code != 503 or not patience:  # its database is busy; it asks to come again
                raise
            time.sleep(1)
    return None


@pytest.fixture(scope="module")
def prefect(tmp_path_factory, prefect_home) -> Iterator[Settings]:
    settings = Settings(home=prefect_home(tmp_path_factory.mktemp("deployments") / "home"))
    with private_prefect_server(settings) as url:
        yield settings.model_copy(update={"prefect": url})


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()


def test_a_worker_waits_for_an_api_that_starts_later(capsys):
    port = free_port()
    waiting = threading.Thread(
        target=wait_for_prefect, args=(Settings(prefect=f"http://127.0.0.1:{port}/api"), 0.05)
    )
    waiting.start()
    wait_until(lambda: f"waiting for Prefect at http://127.0.0.1:{port}" in capsys.readouterr().err)
    assert waiting.is_alive()
    with HTTPServer(("127.0.0.1", port), Healthy) as server:
        server.timeout = 30
        server.handle_request()
        waiting.join(10)
    assert not waiting.is_alive()


@pytest.fixture(scope="module")
def health_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def worker(prefect, health_port) -> Iterator[str]:
    """Run the worker of `strata up` and return the id of its standing deployment."""
    api = prefect.prefect
    environment = os.environ | {
        "PREFECT_API_URL": api,
        "PREFECT_HOME": str(prefect.home / "prefect"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1",
        "PREFECT_WORKER_WEBSERVER_PORT": str(health_port),
        "STRATA_HOME": str(prefect.home),
        "PYTHONPATH": str(Path.cwd()),
    }
    command = [sys.executable, "-m", "flows.deployments", "--healthcheck"]
    process = subprocess.Popen(command, env=environment)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                yield ask(f"{api}/deployments/name/{FLOW_NAME}/strata")["id"]
                return
            except urllib.error.HTTPError:
                time.sleep(0.3)
        raise TimeoutError("the worker made no deployment")
    finally:
        process.terminate()
        process.wait(30)


def test_the_form_has_types_and_choices(prefect, worker):
    schema = ask(f"{prefect.prefect}/deployments/{worker}")["parameter_openapi_schema"]
    form = schema["properties"]
    assert {"ci", "toy"} <= set(form["recipe"]["enum"])
    assert {"local_process", "kubernetes"} == set(form["launcher"]["anyOf"][0]["enum"])
    place = schema["definitions"]["Place"]["properties"]
    assert set(place["device"]["anyOf"][0]["enum"]) == {"cpu", "cuda"}
    assert set(place) <= set(Resources.model_fields)
    assert form["overrides"]["type"] == "array"
    assert form["overrides"]["items"] == {"type": "string"}
    assert form["new"]["type"] == "boolean"
    assert all("description" in field for field in form.values())


def test_a_flow_run_from_the_form_is_carried_out_by_the_worker(prefect, worker):
    """The recipe refuses the override, which shows that our flow has read the parameters."""
    made = ask(
        f"{prefect.prefect}/deployments/{worker}/create_flow_run",
        {"parameters": {"recipe": "ci", "overrides": ["agent.lerning_rate=1"]}},
    )
    deadline = time.monotonic() + 60
    while True:
        run = ask(f"{prefect.prefect}/flow_runs/{made['id']}")
        if run["state_type"] in {"COMPLETED", "FAILED", "CRASHED"}:
            break
        assert time.monotonic() < deadline, run["state"]
        time.sleep(0.5)
    assert run["state_type"] == "FAILED"
    assert "lerning_rate" in run["state"]["message"]
    assert "learning_rate" in run["state"]["message"]  # the suggestion


def test_a_submitted_run_is_followed_to_its_end(prefect, worker):
    said = []
    record = follow(prefect, submit(prefect, "ci", [], until="corpus"), said.append)
    assert (record.state, record.steps["corpus"].state) == ("done", "done")
    assert [line.split()[:2] for line in said][-1] == ["corpus", "is"]
    again = follow(prefect, submit(prefect, "ci", [], until="corpus"), said.append)
    assert again.id == record.id, "there is nothing to make"
    with pytest.raises(RunEnded, match="lerning_rate"):
        follow(prefect, submit(prefect, "ci", ["agent.lerning_rate=1"]), said.append)


def test_without_a_worker_there_is_nobody_to_submit_to(prefect, worker):
    nobody = prefect.model_copy(update={"work_pool": "nobody"})
    with pytest.raises(EnvironmentMissing, match=r"(?s)no deployment 'nobody'.*STRATA_WORK_POOL"):
        submit(nobody, "ci", [])


def test_the_worker_says_that_it_is_well(worker, health_port):
    deadline = time.monotonic() + 30
    while not answers(f"http://127.0.0.1:{health_port}/health"):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_place_changes_what_is_filled_in_and_nothing_else():
    place = Place(device="cuda", precision="bf16", nodes=2, memory_gb=64)
    changed = resolve("ci", assignments=place.overrides()).resources["default"]
    before = resolve("ci").resources["default"]
    assert changed == before.model_copy(update=place.model_dump(exclude_none=True))
    assert Place().overrides() == []


def test_a_value_of_the_wrong_kind_is_refused_by_the_form(prefect, worker):
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(
            f"{prefect.prefect}/deployments/{worker}/create_flow_run",
            {"parameters": {"recipe": "huge"}},
        )
    assert caught.value.code in {409, 422}


def test_a_schedule_is_made_and_replaced(prefect):
    for hour in (3, 4):
        page = deploy(
            prefect,
            "ci",
            overrides=["commonsense.seed=7"],
            name="nightly",
            cron=f"0 {hour} * * *",
            timezone="Europe/Berlin",
        )
    found = ask(f"{prefect.prefect}/deployments/name/{FLOW_NAME}/nightly")
    (schedule,) = found["schedules"]
    assert schedule["schedule"] == {
        "cron": "0 4 * * *",
        "timezone": "Europe/Berlin",
        "day_or": True,
    }
    assert found["parameters"] == {"recipe": "ci", "overrides": ["commonsense.seed=7"]}
    assert page == f"{prefect.prefect.removesuffix('/api')}/deployments/deployment/{found['id']}"


def test_what_does_not_hold_is_refused_before_anything_is_made(prefect, tmp_path):
    with pytest.raises(NotFound, match="recipe"):
        deploy(prefect, "tiny_recipe")
    with pytest.raises(BadInput):
        deploy(prefect, "ci", overrides=["agent.lerning_rate=1"])
    with pytest.raises(BadInput, match="five fields"):
        deploy(prefect, "ci", cron="every night")
    with pytest.raises(EnvironmentMissing, match="strata up"):
        deploy(Settings(home=tmp_path), "ci")


def test_a_class_of_gpu_has_a_work_pool_of_its_own(prefect):
    elsewhere = prefect.model_copy(update={"work_pool": "h100"})
    made = deploy(elsewhere, "ci", name="nightly").rpartition("/")[2]
    assert ask(f"{prefect.prefect}/deployments/{made}")["work_pool_name"] == "h100"
    assert ask(f"{prefect.prefect}/work_pools/h100")["type"] == "process"
