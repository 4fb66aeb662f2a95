"""R16 in full: from a warm process a point costs 0.3 s, so all 50."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import full_disk
from tests.faults.figure import draw_seed, shown

pytestmark = pytest.mark.slow
SEED = draw_seed()


def test_a_full_disk_costs_no_resume_point_and_is_told(tmp_path: Path) -> None:
    figure = shown(full_disk.measure(50, SEED, tmp_path / "small"), SEED)
    assert figure.holds, figure
