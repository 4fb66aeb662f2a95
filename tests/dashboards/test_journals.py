"""Curves and logs out of journals that the real Journal wrote."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from components.tracking.journal import Journal
from dashboards import journals
from tests.dashboards.sample_home import SampleHome


def test_curves_join_attempts_without_replays(sample: SampleHome) -> None:
    manifest = sample.made["a/agentic_base"]
    found = {
        c.metric: c for c in journals.curves(sample.store, "agentic_midtrain", manifest.key, "x")
    }
    assert set(found) == {"train/loss", "perf/tokens_per_second", "optimizer/learning_rate"}
    steps = [step for step, _ in found["train/loss"].points]
    assert steps == list(range(1, 281))
    assert found["train/loss"].last < found["train/loss"].points[0][1]


def test_downsample_keeps_ends_and_spikes() -> None:
    points = [(step, math.sin(step / 500)) for step in range(50_000)]
    points[31_234] = (31_234, 40.0)
    thinned = journals.downsample(points, 2000)
    assert len(thinned) <= 2000
    assert thinned[0] == points[0]
    assert thinned[-1] == points[-1]
    assert (31_234, 40.0) in thinned
    assert [step for step, _ in thinned] == sorted({step for step, _ in thinned})


def test_downsample_leaves_short_curves_alone() -> None:
    points = [(1, 2.0), (2, 3.0)]
    assert journals.downsample(points) == tuple(points)
    assert journals.downsample([]) == ()


@pytest.mark.parametrize("count", [5, 9, 100, 2001])
def test_downsample_never_exceeds_its_limit(count: int) -> None:
    points = [(step, float(step % 7)) for step in range(count)]
    assert len(journals.downsample(points, 4)) <= 4


def test_smooth_starts_at_the_first_value_and_keeps_a_constant() -> None:
    assert journals.smooth([(1, 5.0), (2, 5.0), (3, 5.0)])[0] == (1, pytest.approx(5.0))
    assert journals.smooth([(1, 5.0), (2, 5.0)])[-1][1] == pytest.approx(5.0)
    jump = [(step, float(step > 60)) for step in range(1, 121)]
    assert 0 < journals.smooth(jump)[61][1] < 1


def test_smooth_does_not_lag_behind_a_short_curve() -> None:
    falling = [(step, 8.0 - step) for step in range(6)]
    assert journals.smooth(falling)[-1][1] == pytest.approx(3.0, abs=0.2)


def test_change_grows_with_the_journal(sample: SampleHome) -> None:
    store, key = sample.store, "ab" * 32
    attempt = store.new_attempt("rl", key)
    assert journals.newest_change(store, "rl", key) == (0, 0)
    journal = Journal(attempt.journal)
    journal.metric(1, train__loss=1.0)
    first = journals.newest_change(store, "rl", key)
    journal.metric(2, train__loss=0.5)
    journal.close()
    assert journals.newest_change(store, "rl", key) > first


def test_journal_lines_are_for_readers(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.log("loading")
    journal.metric(1, train__loss=2.0)
    journal.event("skipped_batch", step=7, norm=12.5)
    journal.close()
    lines = journals.journal_lines(tmp_path)
    assert [line.split("  ", 1)[1] for line in lines] == [
        "loading",
        "step 1  train/loss 2",
        "[skipped_batch] step=7  norm=12.5",
    ]


def test_tail_reads_only_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    assert journals.tail(path) == []
    path.write_text("\n".join(f"line {n} {'x' * 60}" for n in range(20_000)))
    lines = journals.tail(path, 100)
    assert len(lines) == 100
    assert lines[-1].startswith("line 19999 ")
