"""R5 in short: a cold start costs 5 to 10 s, so 2 of them; `make soak` has 20."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import restart
from tests.faults.figure import draw_seed, shown

pytestmark = pytest.mark.slow
SEED = draw_seed()


def test_a_killed_training_soon_goes_on_where_it_had_saved(tmp_path: Path) -> None:
    figure = shown(restart.measure(2, SEED, tmp_path), SEED)
    assert figure.holds, figure
