"""R10 in short: a crash costs about 1.5 s, so 15 of them; `make soak` has 500."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import crashes
from tests.faults.figure import draw_seed, shown

pytestmark = pytest.mark.slow
SEED = draw_seed()


def test_a_crashed_orchestrator_holds_nothing(tmp_path: Path) -> None:
    figure = shown(crashes.measure(15, SEED, tmp_path / "home"), SEED)
    assert figure.holds, figure
