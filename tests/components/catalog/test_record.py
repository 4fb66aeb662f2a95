"""What is written is read back, twice is once, and fields that are not given stay."""

from __future__ import annotations

import threading

import pytest

from components.artifacts.manifest import FileRecord, InputRecord, Manifest
from components.catalog import queries, record
from components.catalog.session import Catalog


@pytest.fixture
def catalog(empty_catalog: Catalog) -> Catalog:
    return empty_catalog


def manifest(key: str, *inputs: str, step: str = "", ended: float = 10.0) -> Manifest:
    return Manifest(
        stage="count",
        step=step or key,
        key=key,
        digest=f"d-{key}",
        facts={"total": 3},
        config={"upto": 3},
        inputs=tuple(
            InputRecord(name="before", stage="count", step=k, key=k, digest=f"d-{k}")
            for k in inputs
        ),
        code_digest="c",
        code_modules={},
        packages={},
        revisions={},
        numerics={},
        seed=0,
        files=(FileRecord(path="a", bytes=7, sha256="0"),),
        attempt=1,
        fence=1,
        run="r",
        host="h",
        started=8.0,
        ended=ended,
    )


def test_a_run_keeps_what_later_changes_do_not_name(catalog):
    record.record_run(catalog, "r", recipe="ci", recipe_digest="x", created=5.0, pid=7)
    record.record_run(catalog, "r", mlflow_run_id="m")
    run = queries.run(catalog, "r")
    assert (run.recipe, run.state, run.created, run.mlflow_run_id) == ("ci", "running", 5.0, "m")
    record.finish_run(catalog, "r", "failed", cause="broken")
    run = queries.run(catalog, "r")
    assert (run.state, run.cause, run.pid) == ("failed", "broken", None)
    assert run.seconds == pytest.approx(run.ended - 5.0)


def test_steps_keep_the_order_of_their_first_mention(catalog):
    record.record_run(catalog, "r")
    for name in ("corpus", "tokenizer", "agent"):
        record.record_step(catalog, "r", name)
    record.record_step(catalog, "r", "corpus", state="done", digest="d", stage="corpus")
    steps = queries.steps(catalog, "r")
    assert [(s.step, s.position, s.state) for s in steps] == [
        ("corpus", 0, "done"),
        ("tokenizer", 1, "pending"),
        ("agent", 2, "pending"),
    ]


def test_attempts_belong_to_the_key(catalog):
    record.record_attempt(catalog, "k", 1, stage="rl", run_id="r", started=1.0)
    record.record_attempt(catalog, "k", 1, state="failed", exit_code=1, cause="broken")
    record.record_attempt(catalog, "k", 2, stage="rl", run_id="other", started=2.0)
    first, second = queries.attempts(catalog, "k")
    assert (first.state, first.fence, first.exit_code, first.stage) == ("failed", 1, 1, "rl")
    assert (second.number, second.state, second.fence) == (2, "running", 2)


def test_an_artifact_recorded_twice_is_one_with_its_inputs(catalog):
    record.record_artifact(catalog, manifest("a"))
    for _ in range(2):
        record.record_artifact(catalog, manifest("b", "a", "a"), "file:///x")
    found = queries.artifact(catalog, "b")
    assert (found.bytes, found.facts, found.uri, found.seconds) == (7, {"total": 3}, "file:///x", 2)
    assert [(i.position, i.input_key) for i in queries.inputs(catalog, "b")] == [(0, "a"), (1, "a")]


def test_a_condemned_artifact_is_left_out_until_it_is_made_again(catalog):
    record.record_artifact(catalog, manifest("a"))
    record.condemn_artifact(catalog, "a")
    assert queries.artifacts(catalog) == []
    assert queries.artifact(catalog, "a").condemned
    record.record_artifact(catalog, manifest("a"))
    assert [row.key for row in queries.artifacts(catalog)] == ["a"]


def test_threads_that_write_at_once_lose_nothing(catalog):
    record.record_run(catalog, "r")

    def write(thread: int) -> None:
        for n in range(25):
            record.record_step(catalog, "r", f"s{n}", state="running")
            record.event(catalog, "beat", run_id="r", thread=thread, n=n)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(queries.steps(catalog, "r")) == 25
    assert len(queries.events(catalog, "r")) == 100


def test_what_a_database_cannot_hold_is_replaced(catalog):
    facts = {"z": float("nan"), "a": ["x\0", float("-inf"), "\ud800"], "n": 1e-9}
    record.record_run(catalog, "r", resolved_config=facts, cause="cut\0off \ud800")
    record.event(catalog, "beat", run_id="r", said="\0")
    run = queries.run(catalog, "r")
    assert run.cause == "cut\ufffdoff ?"
    assert list(run.resolved_config.items()) == [
        ("z", None),
        ("a", ["x\ufffd", None, "?"]),
        ("n", 1e-9),
    ]
    assert queries.events(catalog, "r")[0].details == {"said": "\ufffd"}


def test_an_event_that_is_said_again_is_not_doubled(catalog):
    for _ in range(2):
        record.event(catalog, "condemned", run_id="r", at=5.0, problem="torn")
        record.event(catalog, "condemned", run_id=None, at=5.0)
    record.event(catalog, "condemned", run_id="r", at=6.0)
    assert [(e.run_id, e.time) for e in queries.events(catalog)] == [
        ("r", 5.0),
        (None, 5.0),
        ("r", 6.0),
    ]
