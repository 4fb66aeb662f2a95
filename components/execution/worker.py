"""A process that carries out requests one after another, so that torch is imported once a run.

Requests come as addresses on standard input, exit codes go back on standard output; what a stage
prints goes to the attempt's log. The worker remembers the sources it started with and refuses to
run others.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import signal
import sys
from pathlib import Path
from types import FrameType

from components.execution.execute import StopSignal, end_with_parent, execute, find_here
from components.execution.request import attempt_at

STALE = -1
"""Answer of a worker whose sources changed since it started: start another."""


def sources_digest() -> str:
    """Digest every source file under `components`."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def main() -> None:
    """Serve requests until standard input closes."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    find_here()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ignore)
    requests: queue.Queue[str] = queue.Queue()
    sources = sources_digest()
    end_with_parent(lambda line: requests.put(json.loads(line)))
    while True:
        uri = requests.get()
        stale = sources_digest() != sources
        code = STALE if stale else _carry_out(uri)
        answers.write(f"{int(code)}\n")
        answers.flush()
        if stale:
            return


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """Do nothing; unlike SIG_IGN, a handler is not inherited by the processes a stage starts."""


def _carry_out(uri: str) -> int:
    log = os.open(attempt_at(uri).log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    return execute(uri, stop=StopSignal())


if __name__ == "__main__":
    main()
