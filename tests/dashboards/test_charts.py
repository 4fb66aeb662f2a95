"""Charts are valid specifications that carry the right numbers."""

from __future__ import annotations

from typing import Any

import pytest

from components.catalog.queries import Step
from dashboards import charts, theme
from dashboards.checkpoint_scores import CheckpointScores, Score, scores_of_run
from dashboards.journals import Curve
from dashboards.queries import Progress, run_detail
from tests.dashboards.sample_home import SampleHome, run_id


def step(name: str, state: str, started: float | None = None, ended: float | None = None) -> Step:
    return Step("r", name, 0, "pretrain", "k", state, None, started, ended, None, 1, None)


def values(chart: Any) -> list[dict[str, Any]]:
    spec = chart.to_dict()
    found = spec.get("data") or spec["layer"][0]["data"]
    return found["values"]


def test_a_bar_spans_its_step_and_a_running_one_grows() -> None:
    done = charts.timeline_row(step("stem", "done", 110, 150), None, 100, 999)
    assert (done["from"], done["to"], done["solid"], done["label"]) == (10, 50, 50, "40 s")
    progress = Progress(25, 100, "steps", 0)
    running = charts.timeline_row(step("stem", "running", 110), progress, 100, 150)
    assert (running["to"], running["solid"], running["label"]) == (50, 20, "40 s · 25 %")


def test_steps_that_did_not_run_have_no_bar_but_say_why() -> None:
    for state in ("cached", "pending", "skipped"):
        row = charts.timeline_row(step("stem", state, 110, 150), None, 100, 999)
        assert (row["to"], row["label"]) == (0, state)
    failed = charts.timeline_row(step("stem", "failed", 110, 150), None, 100, 999)
    assert failed["label"] == "failed after 40 s"
    assert failed["colour"] == theme.STATES["failed"]


def test_timeline_has_a_row_a_step(sample: SampleHome) -> None:
    detail = run_detail(sample.catalog, run_id("e"))
    chart = charts.timeline(detail.steps, {}, detail.run.created, detail.run.created + 300)
    rows = values(chart)
    assert [row["step"] for row in rows] == [s.step for s in detail.steps]


@pytest.mark.parametrize(
    ("end", "ticks"),
    [
        (1.0, [0, 1]),
        (47, [0, 10, 20, 30, 40]),
        (505, [0, 120, 240, 360, 480]),
        (30_000, [0, 7200, 14_400, 21_600, 28_800]),
    ],
)
def test_ticks_are_round(end: float, ticks: list[int]) -> None:
    assert charts.clock_ticks(end) == ticks


def test_success_has_both_ways_of_answering_with_intervals(sample: SampleHome) -> None:
    scores = scores_of_run(sample.catalog, sample.store, run_id("a"))
    rows = values(charts.success_by_checkpoint(scores))
    agent = [row for row in rows if row["checkpoint"] == "agent"]
    assert [(row["answers"], row["label"]) for row in agent] == [
        ("greedy", "85 %"),
        ("sampled", "81 %"),
    ]
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)


def test_runs_compare_in_one_chart_whatever_the_score(sample: SampleHome) -> None:
    runs = {v: scores_of_run(sample.catalog, sample.store, run_id(v)) for v in ("a", "b")}
    colours = dict(zip(runs, theme.RUNS, strict=False))
    shares = values(charts.success_by_run(runs, colours, "success/greedy"))
    assert {row["run"] for row in shares} == {"a", "b"}
    text = charts.success_by_run(runs, colours, "bits_per_byte/general")
    assert values(text)[0]["label"] == "2.68"
    assert "%" not in str(text.to_dict()["layer"][1]["encoding"]["y"]["axis"]["format"])


def test_text_loss_and_families(sample: SampleHome) -> None:
    scores = scores_of_run(sample.catalog, sample.store, run_id("a"))
    assert len(values(charts.text_loss(scores))) == 18
    cells = values(charts.families(scores))
    assert len(cells) == 30
    assert {cell["fill"][0] for cell in cells} == {"#"}


def test_charts_without_data_are_still_charts() -> None:
    nothing = [CheckpointScores("agent", "k", {"planning": Score(0.5, 1, 0.0, 1.0)})]
    for draw in (charts.success_by_checkpoint, charts.text_loss, charts.families):
        assert values(draw(nothing)) == []


def test_a_curve_shows_the_measured_and_the_average() -> None:
    curve = Curve("stem", "train/loss", tuple((s, 1 / (s + 1)) for s in range(50)))
    spec = charts.curve({"stem": curve}, {"stem": "#123456"}, "stem", "train/loss").to_dict()
    assert len(spec["layer"]) == 2
    assert spec["layer"][0]["data"]["values"][3]["value"] == pytest.approx(0.25)


def test_an_axis_of_shares_ends_just_above_the_intervals(sample: SampleHome) -> None:
    def domain(high: float) -> list[float]:
        low = CheckpointScores("x", "k", {"success/greedy": Score(high / 2, 30, 0.0, high)})
        (scale,) = {
            tuple(layer["encoding"]["y"]["scale"]["domain"])
            for layer in charts.success_by_checkpoint([low]).to_dict()["layer"]
            if "scale" in layer["encoding"]["y"]
        }
        return list(scale)

    assert domain(0.14) == [0, 0.2]
    assert domain(0.199) == [0, 0.3]
    assert domain(1.0) == [0, 1]


def test_an_interrupted_step_says_so_where_its_end_is_unknown() -> None:
    row = charts.timeline_row(step("agent", "interrupted", 110), None, 100, 100)
    assert (row["label"], row["colour"]) == ("interrupted", theme.STATES["interrupted"])
