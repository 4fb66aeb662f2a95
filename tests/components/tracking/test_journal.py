from __future__ import annotations

import math
from pathlib import Path

from components.tracking.journal import Journal, metric_points, read_journal


def test_records_come_back_in_order_from_numbered_segments(tmp_path: Path):
    journal = Journal(tmp_path, segment_seconds=0.0)
    journal.metric(1, train__loss=2.0)
    journal.progress(1, 10, "steps")
    journal.event("resumed", at=1)
    journal.log("hello")
    journal.close()
    assert len(list(tmp_path.iterdir())) == 4
    kinds = [record["kind"] for record in read_journal(tmp_path)]
    assert kinds == ["metric", "progress", "event", "log"]
    assert journal.last_progress == {"done": 1, "total": 10, "unit": "steps"}


def test_a_new_journal_never_appends_to_an_old_segment(tmp_path: Path):
    for value in (1.0, 2.0):
        journal = Journal(tmp_path)
        journal.metric(int(value), train__loss=value)
        journal.close()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["000000.jsonl", "000001.jsonl"]


def test_replayed_steps_and_values_that_are_not_finite_are_dropped(tmp_path: Path):
    first, second = Journal(tmp_path / "1"), Journal(tmp_path / "2")
    for step in (1, 2, 3):
        first.metric(step, train__loss=step)
    for step in (3, 4, 5):
        second.metric(step, train__loss=math.nan if step == 5 else 10 * step)
    points = metric_points([tmp_path / "1", tmp_path / "2"])
    assert [(point.step, point.value) for point in points] == [(1, 1), (2, 2), (3, 3), (4, 40)]


def test_a_torn_last_line_is_left_out(tmp_path: Path):
    journal = Journal(tmp_path)
    journal.log("whole")
    journal.close()
    with (tmp_path / "000000.jsonl").open("a") as file:
        file.write('{"kind": "lo')
    assert [record["message"] for record in read_journal(tmp_path)] == ["whole"]
