"""What the pages show, read back from a home that the real store and catalog wrote."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.catalog import record
from components.contract import NotFound
from dashboards import queries
from tests.dashboards.sample_home import STAGES, SampleHome, build, many, run_id


def test_runs_come_newest_first_with_their_success(sample: SampleHome) -> None:
    page = queries.run_page(sample.catalog)
    assert [run.id[-4:] for run in page.runs] == ["ee01", "dd01", "cc01", "bb01", "aa01"]
    assert page.total == 5
    assert page.recipes == ("ci", "toy")
    assert page.states == {"done": 3, "failed": 1, "running": 1}
    assert page.runs[4].success == pytest.approx(0.853)
    assert page.runs[4].scored == "agent"
    assert page.runs[0].success is None
    assert [step.step for step in page.runs[4].steps] == list(STAGES)


def test_a_run_whose_process_is_gone_is_not_called_running(tmp_path: Path) -> None:
    sample = build(tmp_path / "home")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    record.record_run(sample.catalog, run_id("e"), host=socket.gethostname(), pid=gone.pid)
    page = queries.run_page(sample.catalog)
    assert page.states == {"done": 3, "failed": 1, "interrupted": 1}
    assert page.runs[0].state == "interrupted"
    assert queries.run_page(sample.catalog, state="running").total == 0
    assert queries.run_page(sample.catalog, state="interrupted").total == 1
    detail = queries.run_detail(sample.catalog, run_id("e"))
    assert not detail.live
    assert not detail.settled  # the same command continues it
    states = {step.step: step.state for step in detail.steps}
    assert states["agentic_base"] == "interrupted"
    assert "running" not in {attempt.state for attempt in detail.attempts}


def test_an_attempt_with_a_successor_is_not_called_running(tmp_path: Path) -> None:
    sample = build(tmp_path / "home")
    detail = queries.run_detail(sample.catalog, run_id("e"))
    (running,) = [attempt for attempt in detail.attempts if attempt.state == "running"]
    fields = {"stage": running.stage, "run_id": run_id("e"), "state": "running"}
    record.record_attempt(sample.catalog, running.key, running.number + 1, **fields)
    again = queries.run_detail(sample.catalog, run_id("e")).attempts
    states = {one.number: one.state for one in again if one.key == running.key}
    assert (states[running.number], states[running.number + 1]) == ("lost", "running")


def test_runs_are_filtered_and_paged(sample: SampleHome) -> None:
    assert queries.run_page(sample.catalog, recipe="ci").total == 2
    assert queries.run_page(sample.catalog, recipe="ci", state="failed").total == 1
    second = queries.run_page(sample.catalog, page=2, size=2)
    assert [run.id[-4:] for run in second.runs] == ["cc01", "bb01"]
    beyond = queries.run_page(sample.catalog, page=99, size=2)
    assert [run.id[-4:] for run in beyond.runs] == ["aa01"]
    assert queries.run_page(sample.catalog, recipe="none").runs == ()


def test_a_run_page_with_a_thousand_runs_is_as_quick(tmp_path: Path) -> None:
    sample = build(tmp_path / "home")

    def seconds() -> float:
        start = time.process_time()
        queries.run_page(sample.catalog)
        return time.process_time() - start

    few = min(seconds() for _ in range(5))
    many(sample, 1000)
    lot = min(seconds() for _ in range(5))
    assert queries.run_page(sample.catalog).total == 1005
    assert lot < 0.5
    assert lot < 10 * few + 0.05


def test_a_run_has_the_edges_that_a_longer_path_does_not_imply(sample: SampleHome) -> None:
    detail = queries.run_detail(sample.catalog, run_id("a"))
    assert ("agentic_base", "assistant") in detail.edges
    assert ("trajectories", "agentic_base") in detail.edges
    assert ("tokenizer", "agent") not in detail.edges
    assert ("agent", "scores.agent") in detail.edges
    assert not detail.live


def test_steps_without_inputs_yet_are_drawn_as_the_pipeline_says(sample: SampleHome) -> None:
    detail = queries.run_detail(sample.catalog, run_id("e"))
    assert detail.live
    assert ("assistant", "agent") in detail.edges
    assert ("agent", "release") in detail.edges or ("scores.agent", "release") in detail.edges


def test_the_diagram_is_that_of_the_pipeline() -> None:
    from flows.pipeline import train_agentic_llm
    from flows.recipe import shipped

    edges: set[tuple[str, str]] = set()

    def step(name: str, stage: object, config: object, **inputs: object) -> str:
        del stage, config
        for value in inputs.values():
            sources = value if isinstance(value, tuple) else (value,)
            edges.update((str(source), name) for source in sources)
        return name

    train_agentic_llm(shipped("ci"), step)  # type: ignore[arg-type]
    plain = {(a, b) for a, b in edges if not (a + b).count("scores.")}
    drawn = {(source, step) for step, sources in queries.DIAGRAM.items() for source in sources}
    assert set(queries.reduce_edges(plain)) == drawn


def test_latest_and_the_beginning_of_an_id_name_a_run(sample: SampleHome) -> None:
    assert queries.run_detail(sample.catalog, "latest").run.id == run_id("e")
    assert queries.run_detail(sample.catalog, run_id("b")[:15]).run.id == run_id("b")
    with pytest.raises(NotFound):
        queries.run_detail(sample.catalog, "nothing")


def test_reduce_edges_keeps_what_no_path_implies() -> None:
    edges = [("a", "b"), ("b", "c"), ("a", "c"), ("c", "d"), ("a", "d"), ("x", "d")]
    assert queries.reduce_edges(edges) == [("a", "b"), ("b", "c"), ("c", "d"), ("x", "d")]


def test_progress_of_a_running_step(sample: SampleHome) -> None:
    steps = {s.step: s for s in queries.run_detail(sample.catalog, run_id("e")).steps}
    found = queries.step_progress(sample.store, steps["agentic_base"])
    assert found is not None
    assert (found.done, found.total, found.unit) == (118, 280, "steps")
    assert found.share == pytest.approx(0.4214, abs=1e-3)
    assert queries.step_progress(sample.store, steps["corpus"]) is None
    assert queries.step_progress(sample.store, steps["agent"]) is None


def test_lineage_reaches_the_sources(sample: SampleHome) -> None:
    key = sample.made["a/agent"].key
    found = queries.artifact_lineage(sample.catalog, key[:16])
    assert {row.step for row in found.ancestors} >= {"corpus", "tokenizer", "trajectories"}
    assert {row.step for row in found.descendants} == {"scores.agent", "release"}


def test_runs_using_an_artifact(sample: SampleHome) -> None:
    shared = [r[0] for r in queries.runs_using(sample.catalog, sample.made["a/corpus"].key)]
    assert shared == [run_id("b"), run_id("a")]


def test_configurations_differ_by_dotted_field() -> None:
    one = {"agent": {"rate": 1, "steps": 5}, "name": "toy", "empty": {}}
    other = {"agent": {"rate": 2, "steps": 5}, "name": "toy", "more": [1]}
    assert queries.config_difference([one, other]) == {
        "agent.rate": (1, 2),
        "empty": ({}, None),
        "more": (None, [1]),
    }
    assert queries.config_difference([one, one]) == {}
