"""Proof, at every opening, that the walls of a session stand: checked by trying, not by reading
settings.
"""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

from components.contract import EnvironmentMissing
from components.sandbox.interface import Sandbox

_SCRIPT = """
[ -e {host_file} ] && echo host-file-visible
[ -r /etc/shadow ] && echo shadow-readable
(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && echo network-reachable
unshare --user true 2>/dev/null && echo user-namespace-allowed
(: > /work/.probe) 2>/dev/null && echo files-writable
(: > /usr/.probe) 2>/dev/null && echo system-writable
ls /proc/1/fd >/dev/null 2>&1 && echo driver-visible
grep -q '^CapEff:[[:space:]]*0*$' /proc/self/status || echo capabilities-held
grep -q '^Seccomp:[[:space:]]*2$' /proc/self/status || echo no-system-call-filter
echo proven
"""


def prove_isolation(sandbox: Sandbox) -> None:
    """Try to cross each wall; raises `EnvironmentMissing` naming those that do not hold."""
    with tempfile.NamedTemporaryFile() as host_file, socket.create_server(("127.0.0.1", 0)) as door:
        script = _SCRIPT.format(host_file=Path(host_file.name), port=door.getsockname()[1])
        done = sandbox.run(script, cpu_seconds=5.0)
    sandbox.reset()
    found = done.stdout.split()
    if found != ["proven"]:
        broken = ", ".join(word for word in found if word != "proven") or done.stderr.strip()
        raise EnvironmentMissing(
            f"the sandbox does not isolate on this machine: {broken or 'it gave no answer'}. "
            "Run on a kernel with user namespaces and seccomp, with bubblewrap 0.8 or newer"
        )
