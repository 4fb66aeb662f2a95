"""Proof, at every opening, that the walls of a session stand: checked by trying, not by reading
settings.
"""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from components.contract import EnvironmentMissing
from components.sandbox.interface import Sandbox, Tier

_SCRIPT = """
cat {host_file} >/dev/null 2>&1 && echo host-file-readable
cat /etc/passwd >/dev/null 2>&1 && echo system-file-readable
(: > {host_directory}/probe) 2>/dev/null && echo host-writable
(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && echo network-reachable
unshare --user true 2>/dev/null && echo user-namespace-allowed
(: > ./.probe) 2>/dev/null && echo files-writable
(: > /usr/.probe) 2>/dev/null && echo system-writable
cat /proc/{host_process}/environ >/dev/null 2>&1 && echo host-environment-readable
"""
_NAMESPACES = """
ls /proc/1/fd >/dev/null 2>&1 && echo driver-visible
grep -q '^CapEff:[[:space:]]*0*$' /proc/self/status || echo capabilities-held
grep -q '^Seccomp:[[:space:]]*2$' /proc/self/status || echo no-system-call-filter
echo proven
"""
_SHARED = """
ls /proc >/dev/null 2>&1 && echo processes-visible
kill -0 $PPID 2>/dev/null && echo driver-reachable
kill -0 {host_process} 2>/dev/null && echo host-reachable
(: > "$TMPDIR/.probe" && chmod 600 "$TMPDIR/.probe") 2>/dev/null && echo no-system-call-filter
echo proven
"""


def prove_isolation(sandbox: Sandbox, tier: Tier = "bubblewrap") -> None:
    """Try to cross each wall; raises `EnvironmentMissing` naming those that do not hold."""
    script = _SCRIPT + (_SHARED if tier == "landlock" else _NAMESPACES)
    with (
        tempfile.TemporaryDirectory() as host_directory,
        tempfile.NamedTemporaryFile() as host_file,
        socket.create_server(("127.0.0.1", 0)) as door,
    ):
        Path(host_directory).chmod(0o777)
        Path(host_file.name).chmod(0o644)
        done = sandbox.run(
            script.format(
                host_file=host_file.name,
                host_directory=host_directory,
                host_process=os.getpid(),
                port=door.getsockname()[1],
            ),
            cpu_seconds=5.0,
        )
    sandbox.reset()
    found = done.stdout.split()
    if found != ["proven"]:
        broken = ", ".join(word for word in found if word != "proven") or done.stderr.strip()
        raise EnvironmentMissing(
            f"the sandbox does not isolate on this machine: {broken or 'it gave no answer'}. "
            "bubblewrap needs version 0.8 or newer and a kernel with user namespaces and seccomp; "
            "the tier landlock needs Linux 6.12 or newer"
        )
