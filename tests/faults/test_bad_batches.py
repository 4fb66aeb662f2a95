"""R11 in full: three trainings of a tiny model on two ranks take about 15 s."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import bad_batches
from tests.faults.figure import draw_seed, shown

pytestmark = pytest.mark.slow
SEED = draw_seed()


def test_bad_batches_are_left_out_and_too_many_end_it(tmp_path: Path) -> None:
    figure = shown(bad_batches.measure(50, SEED, tmp_path), SEED)
    assert figure.holds, figure
