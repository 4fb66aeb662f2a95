"""R9's restarts in short: a restart costs about four seconds, so 8 of them; `make soak` has 100."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import mid_submit
from tests.faults.figure import draw_seed, shown

pytestmark = pytest.mark.slow
SEED = draw_seed()


def test_restarts_while_submitting_never_make_two_jobs(tmp_path: Path) -> None:
    figure = shown(mid_submit.measure(8, SEED, tmp_path / "place"), SEED)
    assert figure.holds, figure
