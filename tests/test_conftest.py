"""The rule of conftest.py that nothing is skipped in CI, run on a small suite of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import pytest

def test_passes(): ...

@pytest.mark.gpu
@pytest.mark.skip(reason="no device")
def test_allowed(): ...

def test_skipped():
    {skip}
"""


def run_suite(directory: Path, *, skip: str, ci: bool) -> subprocess.CompletedProcess[str]:
    conftest = Path(__file__).with_name("conftest.py").read_text(encoding="utf-8")
    (directory / "conftest.py").write_text(conftest, encoding="utf-8")
    (directory / "pytest.ini").write_text("[pytest]\nmarkers =\n    gpu\n", encoding="utf-8")
    (directory / "test_suite.py").write_text(SUITE.format(skip=skip), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(directory)],
        cwd=directory,
        env=environment | ({"CI": "true"} if ci else {}),
        capture_output=True,
        text=True,
        check=False,
    )


def test_skip_fails_in_ci_and_says_why(tmp_path: Path) -> None:
    done = run_suite(tmp_path, skip="pytest.skip('no browser')", ci=True)
    assert done.returncode == 1
    assert "counts as a failure in CI: Skipped: no browser" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 failed, 1 passed, 1 skipped in ")


def test_skip_stays_a_skip_elsewhere(tmp_path: Path) -> None:
    done = run_suite(tmp_path, skip="pytest.skip('no browser')", ci=False)
    assert done.returncode == 0
    assert "1 passed, 2 skipped" in done.stdout


def test_expected_failure_counts_as_a_skip(tmp_path: Path) -> None:
    done = run_suite(tmp_path, skip="pytest.xfail('later')", ci=True)
    assert done.returncode == 1, done.stdout


def test_module_skipped_whole_fails_in_ci(tmp_path: Path) -> None:
    (tmp_path / "test_whole.py").write_text(
        "import pytest\npytest.importorskip('no_such_module')\n", encoding="utf-8"
    )
    done = run_suite(tmp_path, skip="pass", ci=True)
    assert done.returncode != 0
    assert "no_such_module" in done.stdout


def test_home_is_private(private_home: Path) -> None:
    assert Path(os.environ["STRATA_HOME"]) == private_home
    assert not any(name.startswith("STRATA_") for name in os.environ if name != "STRATA_HOME")


@pytest.mark.parametrize("name", ["DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY"])
def test_libraries_are_told_not_to_report(name: str) -> None:
    assert os.environ[name] in {"1", "true"}
