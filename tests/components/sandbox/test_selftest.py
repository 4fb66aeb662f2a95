"""The proof fails where a wall is missing: here, a plain shell without any."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from components.contract import EnvironmentMissing
from components.sandbox.bubblewrap import BubblewrapSandbox
from components.sandbox.interface import Completed
from components.sandbox.landlock import LandlockSandbox
from components.sandbox.selftest import prove_isolation
from components.sandbox.session import Session


class PlainShell:
    """Run commands on the host, which is what the proof has to notice."""

    needs = "Get walls"

    def __init__(self, tier: type[Session], home: Path) -> None:
        self.tier, self.probe = tier.tier, tier.probe
        self.home = home / "home"
        self.home.mkdir()

    def run(self, command: str, *, cpu_seconds: float = 2.0) -> Completed:
        done = subprocess.run(
            ["bash", "-c", command.replace("/usr/.probe", "/nowhere/.probe")],
            cwd=self.home,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.home)},
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


WORDS = {
    BubblewrapSandbox: ("host-file-visible", "network-reachable"),
    LandlockSandbox: (
        "host-file-readable",
        "host-file-writable",
        "host-directory-writable",
        "system-files-readable",
        "environment-of-self-readable",
        "processes-visible",
        "can-be-signalled",
        "network-reachable",
        "modes-changeable",
    ),
}


@pytest.mark.parametrize("tier", WORDS)
def test_a_shell_without_walls_is_refused(tier: type[Session], tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match="Get walls") as caught:
        prove_isolation(PlainShell(tier, tmp_path))
    assert [word for word in WORDS[tier] if word not in str(caught.value)] == []


def test_silence_is_no_proof(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match="no answer"):
        prove_isolation(Silent(LandlockSandbox, tmp_path))
