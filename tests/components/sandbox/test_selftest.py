"""The proof fails where a wall is missing: here, a plain shell without any."""

from __future__ import annotations

import subprocess

import pytest

from components.contract import EnvironmentMissing
from components.sandbox.interface import Completed
from components.sandbox.selftest import prove_isolation


class PlainShell:
    """Run commands on the host, which is what the proof has to notice."""

    def run(self, command: str, *, cpu_seconds: float = 2.0) -> Completed:
        done = subprocess.run(
            ["bash", "-c", command.replace("/usr/.probe", "/nowhere/.probe")],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return Completed(done.stdout, done.stderr, done.returncode)

    def reset(self) -> None:
        """Hold nothing."""

    def close(self) -> None:
        """Hold nothing."""


class Silent(PlainShell):
    """Answer nothing at all."""

    def run(self, command: str, *, cpu_seconds: float = 2.0) -> Completed:
        return Completed("", "", 255, infrastructure=True)


def test_a_shell_without_walls_is_refused() -> None:
    with pytest.raises(EnvironmentMissing) as caught:
        prove_isolation(PlainShell())
    assert "host-file-readable" in str(caught.value)
    assert "network-reachable" in str(caught.value)


def test_silence_is_no_proof() -> None:
    with pytest.raises(EnvironmentMissing, match="no answer"):
        prove_isolation(Silent())
