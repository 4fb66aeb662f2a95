"""R6 in short: a pre-emption costs about 0.3 s, so 20 of them; `make soak` has 100."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import preemption
from tests.faults.figure import draw_seed, shown

pytestmark = pytest.mark.slow
SEED = draw_seed()


def test_a_preempted_attempt_saves_and_costs_no_failure(tmp_path: Path) -> None:
    figure = shown(preemption.measure(20, SEED, tmp_path), SEED)
    assert figure.holds, figure
