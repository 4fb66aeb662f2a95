"""R20 in short: six rounds on each database take about 6 s; `make soak` has fifty."""

from __future__ import annotations

from pathlib import Path

from tests.faults import migrations
from tests.faults.figure import shown


def test_of_eight_processes_one_migrates_and_none_fails(tmp_path: Path) -> None:
    figure = shown(migrations.measure(6, 0, tmp_path), 0)
    assert figure.holds, figure
