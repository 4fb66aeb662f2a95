"""R8 in short: two Jobs for each bad end, about five seconds each; `make soak` has 20."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import zombies
from tests.faults.figure import draw_seed, shown

pytestmark = pytest.mark.slow
SEED = draw_seed()


def test_jobs_that_nobody_watches_come_to_the_right_end(tmp_path: Path) -> None:
    figure = shown(zombies.measure(2, SEED, tmp_path / "place"), SEED)
    assert figure.holds, figure
