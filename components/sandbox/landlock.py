"""A sandbox session made with Landlock and seccomp, for places that forbid namespaces: a restricted
pod of Kubernetes, a container under its runtime's default profile.

The session is a process like any other of its user, in a private directory: `files`, a copy that
can be read, and `home`, the only place that can be written. Run by root, it becomes nobody first.
`landlock_driver` puts up the walls, from inside, before it reads the first request.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import IO

from components.contract import EnvironmentMissing
from components.sandbox.interface import TEXT_TOOLS, Limits
from components.sandbox.seccomp import filter_program
from components.sandbox.session import NOBODY, Session
from components.sandbox.staging import Staged, remove_tree

_NEEDS = "It needs Linux 6.12 or newer with Landlock (ABI 6) and seccomp"
_PROGRAM = {
    name: Path(__file__).with_name(name).read_text(encoding="utf-8")
    for name in ("driver.py", "landlock_driver.py")
}
_BEGIN = (
    "import json, sys; sys.path.insert(0, sys.argv[1]); "
    "from components.sandbox.landlock_driver import main; main(json.loads(sys.argv[2]))"
)


class LandlockSandbox(Session):
    """Hold one session in a Landlock domain of its own."""

    tier = "landlock"
    needs = _NEEDS
    probe = """
(: < {outside}/secret) 2>/dev/null && echo host-file-readable
(: >> {outside}/secret) 2>/dev/null && echo host-file-writable
(: > {outside}/new) 2>/dev/null && echo host-directory-writable
ls {outside} >/dev/null 2>&1 && echo host-directory-visible
(: < /etc/passwd) 2>/dev/null && echo system-files-readable
for process in self 1 {host} $PPID; do
  (: < /proc/$process/environ) 2>/dev/null && echo environment-of-$process-readable
done
(: < /proc/self/stat) 2>/dev/null && echo processes-visible
for process in {host} $PPID; do kill -0 $process 2>/dev/null && echo $process-can-be-signalled; done
(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && echo network-reachable
unshare --user true 2>/dev/null && echo user-namespace-allowed
chmod 755 $HOME
[ "$(stat -c %a $HOME)" = 700 ] || echo modes-changeable
(: > .probe) 2>/dev/null && echo files-writable
(: > ../.probe) 2>/dev/null && echo session-writable
(: > /usr/.probe) 2>/dev/null && echo system-writable
(: > $HOME/.probe) || echo scratch-not-writable
echo proven
"""
    farewell = 5.0

    def __init__(self, files: Path, limits: Limits) -> None:
        program = filter_program(os.uname().machine, namespaces=False)
        if program is None:
            raise EnvironmentMissing(
                f"there is no system-call filter for {os.uname().machine}, and the sandbox tier "
                "'landlock' does not go without: run on x86-64 or 64-bit ARM"
            )
        super().__init__(files, limits)
        self._filter = program
        self._user = NOBODY if os.geteuid() == 0 else None
        self._staged = Staged(files)
        self._scratch = self._staged.path / "home"
        tools = self._staged.path / "tools"
        tools.mkdir()
        for name in TEXT_TOOLS:
            (tools / name).symlink_to(f"/usr/bin/{name}")
        self.tools = str(tools)
        sources = self._staged.path / "driver" / "components" / "sandbox"
        sources.mkdir(parents=True)
        for name, text in _PROGRAM.items():
            (sources / name).write_text(text, encoding="utf-8")
        for path in (tools, sources, *sources.parents[:2], *sources.iterdir()):
            path.chmod(0o755)

    def close(self) -> None:
        """End the session and remove its directory."""
        super().close()
        self._staged.remove()

    def _start(self, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        remove_tree(self._scratch)
        self._scratch.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(self._scratch, self._user, self._user)
        place = {
            "files": str(self._staged.files),
            "scratch": str(self._scratch),
            "filter": self._filter.hex(),
        }
        driver = str(self._staged.path / "driver")
        return subprocess.Popen(
            [self._python, *("-I", "-S", "-B", "-c"), _BEGIN, driver, json.dumps(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
            env={},
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            start_new_session=True,
            umask=0o022,
        )
