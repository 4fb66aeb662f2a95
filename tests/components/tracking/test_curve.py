"""The followed curve equals the merged one, whenever it is read."""

from __future__ import annotations

import json
import random
from pathlib import Path

from components.tracking.curve import Curve
from components.tracking.journal import Journal, metric_points


def test_reading_in_portions_equals_reading_at_once(tmp_path: Path):
    chance = random.Random(7)
    attempts = [tmp_path / str(number) for number in (1, 2, 3)]
    curve, followed = Curve(), []
    for number, directory in enumerate(attempts):
        journal = Journal(directory, segment_seconds=0.0)
        for step in range(number * 10, number * 10 + 15):  # five steps are repeated
            journal.metric(step, train__loss=chance.random(), broken=float("nan"))
            journal.progress(step, 100, "steps")
            if chance.random() < 0.3:
                followed += curve.advance(attempts)
        journal.close()
    followed += curve.advance(attempts)
    assert followed == metric_points(attempts)
    assert [point.step for point in followed] == list(range(35))
    assert curve.advance(attempts) == []


def test_a_line_without_its_end_is_read_once_it_is_whole(tmp_path: Path):
    line = json.dumps({"time": 1.0, "kind": "metric", "step": 0, "values": {"loss": 2.0}}) + "\n"
    segment = tmp_path / "000000.jsonl"
    segment.write_text(line[:20])
    curve = Curve()
    assert curve.advance([tmp_path]) == []
    segment.write_text(line)
    assert [point.value for point in curve.advance([tmp_path])] == [2.0]


def test_a_cursor_leaves_out_what_was_sent(tmp_path: Path):
    journal = Journal(tmp_path)
    for step in range(5):
        journal.metric(step, loss=1.0)
    assert [p.step for p in Curve({"loss": 2}).advance([tmp_path])] == [3, 4]
