"""R9 in short: 100 races take about 5 s; `make soak` has 500."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import one_writer
from tests.faults.figure import draw_seed, shown

pytestmark = pytest.mark.slow
SEED = draw_seed()


def test_of_two_live_attempts_one_writes_the_artifact(tmp_path: Path) -> None:
    figure = shown(one_writer.measure(100, SEED, tmp_path), SEED)
    assert figure.holds, figure
