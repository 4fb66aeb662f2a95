"""R12 in full: 100 flips in weights and 100 in shards take about 20 s from a warm process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import corruption
from tests.faults.figure import draw_seed, shown

pytestmark = pytest.mark.slow
SEED = draw_seed()


def test_flipped_bits_are_found_and_the_rank_is_named(tmp_path: Path) -> None:
    figure = shown(corruption.measure(100, SEED, tmp_path), SEED)
    assert figure.holds, figure
