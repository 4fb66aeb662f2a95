"""Tables of scores and differences."""

from __future__ import annotations

import csv
import io

from dashboards import tables
from dashboards.checkpoint_scores import CheckpointScores, Gain, Score, scores_of_run
from tests.dashboards.sample_home import SampleHome, run_id


def test_success_comes_first_and_families_last(sample: SampleHome) -> None:
    names = tables.score_names(scores_of_run(sample.catalog, sample.store, run_id("a")))
    assert names[:3] == ["success/greedy", "success/sampled", "recovery"]
    assert names[-1] == "success/greedy/tool_use"
    assert len(names) == len(set(names)) == 14


def test_the_best_is_bold_and_lower_bits_are_better(sample: SampleHome) -> None:
    page = tables.scores(scores_of_run(sample.catalog, sample.store, run_id("a")))
    assert '<span class="s-best">85.3 %</span>' in page
    assert '<span class="s-best">2.620</span>' in page
    assert "n 1,000" in page


def test_comparison_colours_what_is_apart() -> None:
    runs = {
        "x": [CheckpointScores("agent", "k", {"recovery": Score(0.2, 100, 0.1, 0.3)})],
        "y": [CheckpointScores("agent", "k", {"recovery": Score(0.6, 100, 0.5, 0.7)})],
    }
    page = tables.compared_scores(runs, "agent")
    assert '<span class="s-up"><b>+40.0</b></span>' in page
    once = {
        name: [CheckpointScores("agent", "k", {"bits_per_byte/code": Score(v, 1, v, v)})]
        for name, v in (("a", 3.8), ("b", 3.7))
    }
    page = tables.compared_scores(once, "agent")
    assert "-0.100" in page
    assert "s-up" not in page, "one observation decides nothing"
    same = {"x": runs["x"], "y": runs["x"]}
    assert 'class="s-muted">=<' in tables.compared_scores(same, "agent")
    lacking = {"x": runs["x"], "y": []}
    assert "–" in tables.compared_scores(lacking, "agent")


def test_gains_stand_beside_their_interval() -> None:
    gain = Gain("agent", "assistant", "success/greedy", Score(0.112, 1000, 0.09, 0.13))
    page = tables.gains([gain])
    assert "+11.2 points" in page
    assert "+9.0 to +13.0" in page
    assert "s-good" in page


def test_csv_has_a_row_a_score(sample: SampleHome) -> None:
    scores = scores_of_run(sample.catalog, sample.store, run_id("a"))
    rows = list(csv.DictReader(io.StringIO(tables.csv_of_scores({"r": scores}))))
    assert len(rows) == sum(len(of_one.values) for of_one in scores)
    assert rows[0].keys() == {"run", "checkpoint", "score", "value", "n", "low", "high"}


def test_differences_say_absent_and_shorten() -> None:
    page = tables.differences({"a.b": (None, "x" * 500), "c": (["<"], 1)}, ["one", "two"])
    assert "absent" in page
    assert "x" * 200 not in page
    assert "&lt;" in page


def test_sources_say_what_was_dropped_and_why() -> None:
    report = {
        "sources": [
            {
                "source": "debian:x",
                "domain": "stem",
                "revision": f"1.0 sha256:{'ab' * 32}",
                "fallback": True,
                "read": {"documents": 1200, "bytes": 5000},
                "kept": {"documents": 1000, "bytes": 4000},
                "dropped": {
                    "short": {"documents": 20, "bytes": 100},
                    "near_duplicate": {"documents": 180, "bytes": 900},
                },
            }
        ]
    }
    page = tables.sources(report)
    assert "near duplicate 180 · short 20" in page
    assert "stand-in" in page
    assert "1.0 sha256:abababababab…" in page
    assert "1,200" in page
