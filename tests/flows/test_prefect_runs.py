"""What Prefect is told of a run whose orchestrator died, against a real Prefect server."""

from __future__ import annotations

from uuid import UUID

import pytest
from prefect import flow, task
from prefect.states import Cancelled, Completed, Pending, Running

from components.settings import Settings
from flows.prefect_client import prefect_client
from flows.prefect_runs import RESUBMITS, close_flow_run, resubmit, resubmitted, was_cancelled
from flows.runs import RunRecord, StepRecord
from flows.servers import private_prefect_server
from tests.servers.s3_server import free_port

pytestmark = pytest.mark.slow


@flow(name="died")
def died() -> None:
    """Stand for the pipeline; it is never called."""


@task
def step() -> None:
    """Stand for a step; it is never called."""


def record(flow_run: object, state: str = "stopped", cause: str = "it is gone") -> RunRecord:
    steps = {
        "first": StepRecord(position=0, stage="count", state="done"),
        "second": StepRecord(position=1, stage="count", state="stopped", cause="evicted"),
    }
    return RunRecord(
        id="r-1", recipe="counting", identity="x", resolved={}, created=0.0, state=state,
        cause=cause, steps=steps, links={"prefect_flow_run": str(flow_run)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def settings(tmp_path_factory, prefect_home):
    here = Settings(home=prefect_home(tmp_path_factory.mktemp("prefect") / "home"))
    with private_prefect_server(here) as url:
        yield here.model_copy(update={"prefect": url})


@pytest.fixture
def client(settings):
    with prefect_client(settings.prefect) as made:
        yield made


def state_of(client, flow_run) -> tuple[str, str]:
    state = client.read_flow_run(UUID(str(flow_run))).state
    return state.type.value, state.message or ""


@pytest.mark.parametrize(
    ("state", "cancelled", "told"),
    [
        ("stopped", False, "CRASHED"),
        ("failed", False, "FAILED"),
        ("stopped", True, "CANCELLED"),
        ("done", False, "COMPLETED"),
    ],
)
def test_a_flow_run_comes_to_the_end_of_its_run(settings, client, state, cancelled, told):
    alive = client.create_flow_run(died, state=Running())
    assert close_flow_run(settings, record(alive.id, state), cancelled=cancelled)
    type_, message = state_of(client, alive.id)
    assert type_ == told
    assert message == ("every step was made" if state == "done" else "it is gone")
    assert close_flow_run(settings, record(alive.id, "failed", "again"), cancelled=False)
    assert state_of(client, alive.id) == (type_, message)


def test_open_tasks_come_to_the_end_of_their_steps(settings, client):
    alive = client.create_flow_run(died, state=Running())
    made = {
        name: client.create_task_run(step, alive.id, dynamic_key=name, name=name, state=now)
        for name, now in {"first": Running(), "second": Running(), "third": Pending()}.items()
    }
    close_flow_run(settings, record(alive.id), cancelled=False)
    states = {name: client.read_task_run(task.id).state for name, task in made.items()}
    assert {name: state.type.value for name, state in states.items()} == {
        "first": "COMPLETED",
        "second": "CRASHED",
        "third": "CRASHED",
    }
    assert states["second"].message == "evicted"


def test_a_deployment_s_run_is_asked_for_again_once_for_each_death(settings, client):
    deployment = client.create_deployment(client.create_flow(died), "strata", paused=True)
    dead = client.create_flow_run_from_deployment(
        deployment, parameters={"recipe": "ci", "new": True}, state=Running()
    )
    ids = []
    for number in range(1, RESUBMITS + 1):
        ids.append(resubmit(settings, record(dead.id)))
        assert resubmit(settings, record(dead.id)) == ids[-1], "another reconciler asks too"
        assert resubmitted(client, dead.id) == UUID(ids[-1]), "who follows it finds the next one"
        dead = client.read_flow_run(UUID(ids[-1]))
        assert dead.parameters == {"recipe": "ci", "new": False}
        assert f"resubmitted-{number}" in dead.tags
    assert len(set(ids)) == RESUBMITS
    assert resubmit(settings, record(dead.id)) == "", "it has died too often"
    assert resubmitted(client, dead.id) is None


def test_a_cancelled_run_is_not_asked_for_again(settings, client):
    deployment = client.create_deployment(client.create_flow(died), "strata", paused=True)
    dead = client.create_flow_run_from_deployment(deployment, state=Cancelled())
    assert was_cancelled(settings, record(dead.id))
    assert resubmit(settings, record(dead.id)) == ""
    assert state_of(client, dead.id)[0] == "CANCELLED"


def test_a_run_of_the_command_line_is_not_asked_for_again(settings, client):
    alive = client.create_flow_run(died, state=Completed())
    assert resubmit(settings, record(alive.id)) == ""
    assert not was_cancelled(settings, record(alive.id))


def test_a_prefect_that_is_away_is_not_told(settings):
    away = settings.model_copy(update={"prefect": f"http://127.0.0.1:{free_port()}/api"})
    known = record("00000000-0000-0000-0000-000000000000")
    assert not close_flow_run(away, known, cancelled=False)
    assert resubmit(away, known) == ""
    assert not was_cancelled(away, known)
    assert not close_flow_run(settings, known, cancelled=False), "it does not know such a run"
