"""The big numbers of a run."""

from __future__ import annotations

import pytest

from components.catalog.queries import Step
from dashboards import figures
from dashboards.checkpoint_scores import CheckpointScores, scores_of_run
from dashboards.queries import Progress, run_detail
from tests.dashboards.sample_home import SampleHome, run_id


def test_a_finished_run_shows_success_first(sample: SampleHome) -> None:
    detail = run_detail(sample.catalog, run_id("a"))
    scores = scores_of_run(sample.catalog, sample.store, run_id("a"))
    found = figures.cards(detail, scores, {}, sample.now)
    assert [card[:2] for card in found] == [
        ("Final success, greedy", "85.3 %"),
        ("Final success, sampled", "81.1 %"),
        ("Bits per byte, general", "3.02"),
        ("Time", "8 min 25 s"),
        ("Steps finished", "18 of 18"),
    ]
    assert "18 executed, 0 cached" in found[-1][2]


def test_a_live_run_shows_its_step_and_what_is_left(sample: SampleHome) -> None:
    detail = run_detail(sample.catalog, run_id("e"))
    progress = {"agentic_base": Progress(70, 280, "steps", 0)}
    started = next(s.started for s in detail.steps if s.step == "agentic_base")
    assert started is not None
    first = figures.cards(detail, (), progress, started + 30)[0]
    assert first[:2] == ("Now: agentic_base", "25 %")
    assert first[2] == "70 of 280 steps · 1 min 30 s left"
    assert figures.cards(detail, (), {}, started + 30)[0][1] == "agentic_base"


def test_time_left_waits_for_enough_progress() -> None:
    assert figures.seconds_left(10, Progress(1, 100, "steps", 0)) is None
    assert figures.seconds_left(10, Progress(50, 100, "steps", 0)) == pytest.approx(10)


def test_first_start_leaves_cached_steps_out(sample: SampleHome) -> None:
    detail = run_detail(sample.catalog, run_id("b"))
    assert figures.first_start(detail) == min(s.started for s in detail.steps if s.started)


def test_comparable_checkpoints_begin_with_the_last_that_all_runs_have() -> None:
    def scored(*names: str) -> list[CheckpointScores]:
        return [CheckpointScores(name, "k", {}) for name in names]

    runs = {"a": scored("stem", "assistant", "agent"), "b": scored("stem", "assistant")}
    assert figures.comparable(runs) == ["assistant", "stem", "agent"]
    assert figures.comparable({}) == []


def test_a_step_has_a_time_while_it_runs_and_after() -> None:
    def step(state: str, ended: float | None) -> Step:
        return Step("r", "x", 0, "x", None, state, None, 10.0, ended, None, None, None)

    assert figures.step_seconds(step("running", None), 25.0) == 15.0
    assert figures.step_seconds(step("done", 12.0), 25.0) == 2.0
    assert figures.step_seconds(step("interrupted", None), 25.0) is None
    assert figures.step_seconds(step("cached", 12.0), 25.0) is None
