"""Start the ranks of one node and end them together, keeping the exit code that tells the cause.

Rank variables are those torchrun would set. A rank that fails takes the others along; the node's
code is the first failure's own code, so that a guard stop (4) or a pre-emption (143) reaches the
caller as itself.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time

from components.contract import Resources
from components.execution.exit_codes import ExitCode
from components.settings import child_environment

GRACE_SECONDS = 20.0


def run_ranks(uri: str, resources: Resources) -> int:
    """Run `processes` ranks of the request at `uri` and return the exit code of the node."""
    node = int(os.environ.get("JOB_COMPLETION_INDEX", "0"))
    address = os.environ.get("MASTER_ADDR", "127.0.0.1")
    port = os.environ.get("MASTER_PORT") or str(_free_port())
    ranks: list[subprocess.Popen[bytes]] = []
    for local in range(resources.processes):
        rank = node * resources.processes + local
        environment = child_environment(
            RANK=str(rank),
            LOCAL_RANK=str(local),
            WORLD_SIZE=str(resources.nodes * resources.processes),
            LOCAL_WORLD_SIZE=str(resources.processes),
            MASTER_ADDR=address,
            MASTER_PORT=port,
        )
        argv = [sys.executable, "-P", "-m", "components.execution.execute", uri]
        argv += ["--rank", str(rank), "--end-with-parent"]
        ranks.append(subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE))
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda _s, _f: _terminate(ranks))
    return _watch(ranks)


def _watch(ranks: list[subprocess.Popen[bytes]]) -> int:
    first = 0
    deadline = float("inf")
    while any(rank.poll() is None for rank in ranks):
        failed = [code for rank in ranks if (code := rank.poll())]
        if failed and not first:
            first = failed[0]
            deadline = time.monotonic() + GRACE_SECONDS
            _terminate(ranks)
        if time.monotonic() > deadline:
            for rank in ranks:
                rank.kill()
        time.sleep(0.05)
    first = first or next((rank.returncode for rank in ranks if rank.returncode), ExitCode.DONE)
    return 128 - first if first < 0 else first


def _terminate(ranks: list[subprocess.Popen[bytes]]) -> None:
    for rank in ranks:
        if rank.poll() is None:
            rank.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
