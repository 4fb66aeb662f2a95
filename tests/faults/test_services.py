"""R7 in short: 5 outages of 5 s, each service in turn and all together, in one run of a minute;
`make soak` has 20 of 30 s.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import services
from tests.faults.figure import draw_seed, shown

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SEED = draw_seed()


def test_services_that_go_away_cost_no_step_and_no_point(tmp_path: Path) -> None:
    figure = shown(services.measure(5, SEED, tmp_path, away=5.0), SEED)
    assert figure.holds, figure
