"""R2 in short: 100 kills inside a save take about 10 s from a warm process, so all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import torn_checkpoint
from tests.faults.figure import draw_seed, shown

pytestmark = pytest.mark.slow
SEED = draw_seed()


def test_no_torn_checkpoint_is_accepted_and_damage_is_found(tmp_path: Path) -> None:
    figure = shown(torn_checkpoint.measure(100, SEED, tmp_path), SEED)
    assert figure.holds, figure
