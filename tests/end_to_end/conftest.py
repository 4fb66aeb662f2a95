"""What the tests of the whole pipeline share: one undisturbed `ci` run, and homes to go on from."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.command_line import Answer, Home


@dataclass(frozen=True)
class CiRun:
    """Hold the shared run. Its home is for looking only; `ci_copy` is for changing."""

    home: Home
    answer: Answer
    seconds: float


@pytest.fixture(scope="session")
def new_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Home]]:
    """Make empty homes, each in a project that has packages named like ours.

    Temporary files get a place outside pytest's own directory, which only its owner may enter: a
    sandbox that root starts runs as nobody.
    """
    places: list[Path] = []

    def make() -> Home:
        place = Path(tempfile.mkdtemp(prefix="strata-e2e-"))
        place.chmod(0o755)
        places.append(place)
        project = tmp_path_factory.mktemp("end-to-end")
        for name in ("components", "flows"):
            (project / name).mkdir()
            (project / name / "__init__.py").touch()
        return Home(project / "home", place)

    yield make
    for place in places:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def ci(new_home: Callable[[], Home]) -> CiRun:
    """Run `strata run ci --json` from an empty home, once for all tests."""
    home = new_home()
    started = time.monotonic()
    answer = home.strata("run", "ci", "--json")
    return CiRun(home, answer, time.monotonic() - started)


@pytest.fixture
def ci_copy(ci: CiRun, new_home: Callable[[], Home]) -> Home:
    """Return a copy of the shared run's home, without the downloads."""
    home = new_home()
    shutil.copytree(ci.home.path, home.path, ignore=shutil.ignore_patterns("debian"))
    return home
