"""Proof, at every opening, that the walls of a session stand: checked by trying, not by reading
settings.
"""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import Protocol

from components.contract import EnvironmentMissing
from components.sandbox.interface import Sandbox


class Provable(Sandbox, Protocol):
    """A sandbox with a script that tries its walls: it prints a word for each one that it crossed,
    then `proven`.

    Its places are `{outside}`, a directory of the host which by its modes anybody may write, with
    a file `secret`; `{port}`, a TCP port that listens; `{host}`, this process.
    """

    tier: str
    needs: str
    probe: str


def prove_isolation(sandbox: Provable) -> None:
    """Try to cross each wall; raises `EnvironmentMissing` naming those that do not hold."""
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as door:
        outside = Path(name)
        outside.chmod(0o777)
        secret = outside / "secret"
        secret.touch()
        secret.chmod(0o666)
        port = door.getsockname()[1]
        script = sandbox.probe.format(outside=outside, port=port, host=os.getpid())
        done = sandbox.run(script, cpu_seconds=5.0)
    sandbox.reset()
    found = done.stdout.split()
    if found != ["proven"]:
        broken = ", ".join(word for word in found if word != "proven") or done.stderr.strip()
        raise EnvironmentMissing(
            f"the sandbox does not isolate on this machine: {broken or 'it gave no answer'}. "
            f"{sandbox.needs}"
        )
