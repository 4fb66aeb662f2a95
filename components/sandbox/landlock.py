"""A sandbox session made with Landlock and a filter of system calls, where no namespace can be
made: in a pod of the security level "restricted".

Files, signals and the network are walled off; what the kernel bounds for a namespace or a user
alone (processes, bytes of the scratch directory) is counted and ends the command. Processes of the
host can be counted, but neither read nor reached.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from components.contract import EnvironmentMissing
from components.sandbox.interface import Limits
from components.sandbox.seccomp import filter_program
from components.sandbox.session import DRIVER, NOBODY, Session, remove

_LANDLOCK_DRIVER = Path(__file__).with_name("landlock_driver.py")
_TOGETHER = """
import sys, types
driver = types.ModuleType("components.sandbox.driver")
sys.modules[driver.__name__] = driver
exec(sys.argv.pop(1), driver.__dict__)
exec(sys.argv.pop(1), {"__name__": "__main__"})
"""


class LandlockSandbox(Session):
    """Hold one session; it is opened again, empty, when it is lost."""

    end_seconds = 5.0

    def __init__(self, files: Path, limits: Limits) -> None:
        program = filter_program(os.uname().machine, shared=True)
        if program is None:
            raise EnvironmentMissing(
                f"the sandbox has no filter of system calls for {os.uname().machine}: use x86-64 "
                "or 64-bit ARM"
            )
        self._filter = program
        super().__init__(files, limits, copied=True)

    def _open(self) -> subprocess.Popen[bytes]:
        """Start the driver with an empty scratch directory."""
        scratch = self._scratch
        scratch.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(scratch, NOBODY, NOBODY)
        texts = [path.read_text(encoding="utf-8") for path in (DRIVER, _LANDLOCK_DRIVER)]
        walls = [str(self._files), str(scratch), self._filter.hex()]
        return self._start(
            [self._python, "-I", "-S", "-B", "-c", _TOGETHER, *texts, *walls],
            "Landlock could not close a sandbox; it needs Linux 6.12 or newer with Landlock "
            "switched on (`lsm=landlock,...` at boot)",
        )

    def _kill(self) -> None:
        super()._kill()
        if self._staged is not None and self._scratch.exists():
            remove(self._scratch)

    @property
    def _scratch(self) -> Path:
        assert self._staged is not None
        return self._staged / "scratch"
