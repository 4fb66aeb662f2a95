"""R1 in short: a kill costs about 15 s and an undisturbed small run a minute, so 6 kills in one
such run; `make soak` has 200 in `ci`, and tests/end_to_end/test_interruptions.py strikes chosen
steps.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import kill_anywhere
from tests.faults.figure import draw_seed, shown

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
SEED = draw_seed()


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a directory outside pytest's own, which only its owner may enter: a sandbox that root
    starts runs as nobody.
    """
    place = Path(tempfile.mkdtemp(prefix="strata-faults-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place, ignore_errors=True)


def test_killed_anywhere_the_run_ends_as_an_undisturbed_one(place: Path) -> None:
    overrides = ("resources.default.threads=1", *kill_anywhere.NANO)
    figure = shown(kill_anywhere.measure(6, SEED, place, overrides), SEED)
    assert figure.holds, figure
