"""Runs by prefix, steps of many runs, artifacts of a run, lineage in both directions."""

from __future__ import annotations

import pytest

from components.artifacts.manifest import FileRecord, InputRecord, Manifest
from components.catalog import queries, record
from components.catalog.session import Catalog
from components.contract import BadInput, NotFound

CHAIN = {"corpus": (), "tokenizer": ("corpus",), "shards": ("corpus", "tokenizer")}
CHAIN |= {"model": ("shards", "tokenizer"), "scores": ("model",), "other": ("corpus",)}


def key(step: str) -> str:
    return f"{step}-key"


def manifest(step: str, at: float) -> Manifest:
    inputs = tuple(
        InputRecord(name=i, stage=i, step=i, key=key(i), digest=f"{i}-digest") for i in CHAIN[step]
    )
    return Manifest(
        stage=step,
        step=step,
        key=key(step),
        digest=f"{step}-digest",
        facts={},
        config={},
        inputs=inputs,
        code_digest="",
        code_modules={},
        packages={},
        revisions={},
        numerics={},
        seed=None,
        files=(FileRecord(path="a", bytes=1, sha256="0"),),
        attempt=1,
        fence=1,
        run="2026-a",
        host="h",
        started=at,
        ended=at + 1,
    )


@pytest.fixture
def catalog(empty_catalog: Catalog) -> Catalog:
    catalog = empty_catalog
    record.record_run(catalog, "2026-a", recipe="ci", created=1.0, recipe_digest="x", state="done")
    record.record_run(catalog, "2026-b", recipe="toy", created=2.0, recipe_digest="x")
    for at, step in enumerate(CHAIN):
        record.record_artifact(catalog, manifest(step, float(at)))
        record.record_step(catalog, "2026-a", step, state="done", key=key(step))
    record.record_step(catalog, "2026-b", "corpus", state="cached", key=key("corpus"))
    record.record_step(catalog, "2026-b", "tokenizer", state="running", key=key("tokenizer"))
    record.record_attempt(catalog, key("corpus"), 1, stage="corpus", run_id="2026-a", started=1.0)
    return catalog


def test_runs_come_newest_first_and_filtered(catalog):
    assert [run.id for run in queries.runs(catalog)] == ["2026-b", "2026-a"]
    assert [run.id for run in queries.runs(catalog, 1)] == ["2026-b"]
    assert [run.id for run in queries.runs(catalog, recipe="ci")] == ["2026-a"]
    assert [run.id for run in queries.runs(catalog, state="running")] == ["2026-b"]


def test_a_run_is_found_by_its_beginning(catalog):
    assert queries.run(catalog, "2026-a").recipe == "ci"
    assert queries.run(catalog, "latest").recipe == "toy"
    with pytest.raises(BadInput, match="more digits"):
        queries.run(catalog, "2026")
    with pytest.raises(NotFound, match="strata runs"):
        queries.run(catalog, "20%")


def test_the_newest_run_of_a_recipe_is_continued_unless_it_is_done(catalog):
    assert queries.unfinished_run(catalog, "x").id == "2026-b"
    record.finish_run(catalog, "2026-b", "done")
    assert queries.unfinished_run(catalog, "x") is None


def test_steps_of_several_runs_come_in_one_call(catalog):
    found = queries.steps_of_runs(catalog, ["2026-a", "2026-b", "gone"])
    assert [len(found[run]) for run in ("2026-a", "2026-b", "gone")] == [6, 2, 0]


def test_artifacts_of_a_run_are_those_of_its_finished_steps(catalog):
    assert set(queries.artifacts_of_run(catalog, "2026-a")) == set(CHAIN)
    assert set(queries.artifacts_of_run(catalog, "2026-b")) == {"corpus"}
    assert queries.artifact_of_step(catalog, "2026-b", "tokenizer") is None
    assert [a.number for a in queries.attempts_of_run(catalog, "2026-b")] == [1]


def test_artifacts_are_found_by_key_and_digest(catalog):
    assert queries.artifact(catalog, "model-d").key == key("model")
    assert [a.step for a in queries.artifacts(catalog, step="model")] == ["model"]
    with pytest.raises(NotFound):
        queries.artifact(catalog, "nothing")


def test_lineage_goes_up_and_down_and_leaves_cousins_out(catalog):
    found = queries.lineage(catalog, key("shards"))
    assert [a.step for a in found.ancestors] == ["corpus", "tokenizer"]
    assert [a.step for a in found.descendants] == ["model", "scores"]
    edges = {(e.input_step, e.key.removesuffix("-key")) for e in found.edges}
    assert edges == {
        ("corpus", "shards"),
        ("tokenizer", "shards"),
        ("corpus", "tokenizer"),
        ("shards", "model"),
        ("model", "scores"),
    }


def test_events_are_read_in_portions(catalog):
    for n in range(5):
        record.event(catalog, "beat", run_id="2026-b", n=n)
    first = queries.events(catalog, "2026-b", limit=2)
    rest = queries.events(catalog, "2026-b", after=first[-1].id)
    assert [e.details["n"] for e in first + rest] == [0, 1, 2, 3, 4]
