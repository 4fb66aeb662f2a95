"""The look at processes that the tests of kills rely on: it sees a sandbox and its guest."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from components.sandbox.bubblewrap import BubblewrapSandbox
from components.sandbox.interface import Limits
from tests.processes import processes_of, wait_until


def test_a_child_is_seen_by_its_environment_until_it_ends(tmp_path: Path) -> None:
    environment = {**os.environ, "STRATA_HOME": str(tmp_path)}
    child = subprocess.Popen([sys.executable, "-c", "input()"], env=environment, stdin=-1)
    wait_until(lambda: child.pid in processes_of(tmp_path), 10)
    child.kill()
    wait_until(lambda: not processes_of(tmp_path), 10)
    child.wait()


def test_a_sandbox_and_its_guest_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", name)
        (place / "files").mkdir()
        sandbox = BubblewrapSandbox(place / "files", Limits())
        try:
            assert sandbox.run("true").code == 0
            seen = sorted(Path(said.split()[0]).name for said in processes_of(place).values())
        finally:
            sandbox.close()
        assert [name.rstrip("0123456789.") for name in seen] == ["bwrap", "python"]
        wait_until(
            lambda: not processes_of(place), 10, "for the guest, which ends after its sandbox"
        )
