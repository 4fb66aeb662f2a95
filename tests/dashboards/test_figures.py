"""The big numbers of a run."""

from __future__ import annotations

import pytest

from dashboards import figures
from dashboards.checkpoint_scores import scores_of_run
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
