"""Start the ranks of one node and end them together, keeping the exit code that tells the cause.

Rank variables are those torchrun would set. A rank that fails takes the others along; the node's
code is the first failure's own code, so that a guard stop (4) or a pre-emption (143) reaches the
caller as itself. A rank that only lost touch with another one ends with 75, which says nothing of
the cause: it waits a moment for a code that does. On several nodes the one with the cause ends with
its code, and every other with 75; who reads the codes of all nodes takes one that is not 75.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import NoReturn

from components.contract import Resources
from components.execution.exit_codes import ExitCode
from components.settings import child_environment

GRACE_SECONDS = 20.0
CAUSE_SECONDS = 5.0
"""How long a rank that lost another one waits for that one's code: it may still be ending."""


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


def end_rank(code: int) -> NoReturn:
    """End this rank at once. As usual its threads would be taken down one by one, and one of the
    process group's that still waits then aborts a rank whose work is done.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _watch(ranks: list[subprocess.Popen[bytes]]) -> int:
    cause, lost_since = 0, 0.0
    deadline = float("inf")
    while any(rank.poll() is None for rank in ranks):
        now = time.monotonic()
        if not cause:
            lost_since = lost_since or (now if _failed(ranks) else 0.0)
            cause = _cause(ranks, patient=now - lost_since < CAUSE_SECONDS)
            if cause:
                deadline = now + GRACE_SECONDS
                _terminate(ranks)
        if now > deadline:
            for rank in ranks:
                rank.kill()
        time.sleep(0.05)
    code = cause or _cause(ranks, patient=False)
    return 128 - code if code < 0 else code


def _failed(ranks: list[subprocess.Popen[bytes]]) -> list[int]:
    return [code for rank in ranks if (code := rank.poll())]


def _cause(ranks: list[subprocess.Popen[bytes]], *, patient: bool) -> int:
    """Return the code of a rank that failed, rather one that knows why; 0 where none is known."""
    failed = _failed(ranks)
    known = [code for code in failed if code != ExitCode.TRY_AGAIN]
    return next(iter(known if patient else [*known, *failed]), ExitCode.DONE)


def _terminate(ranks: list[subprocess.Popen[bytes]]) -> None:
    for rank in ranks:
        if rank.poll() is None:
            rank.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
