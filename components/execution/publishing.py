"""Put what an attempt writes into the store while it runs, where the store is no local directory.

Journal, log and resume points go every few seconds, so that a reader follows the attempt and the
next one goes on where it was. A store that is away for a while costs nothing but that: the stage
works on, and what is due is sent when the store is back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from components.artifacts.local_store import LocalStore
from components.artifacts.store import Attempt
from components.contract import TryAgain
from components.execution.repeat import repeated

PUBLISH_SECONDS = 3.0
PATIENCE_SECONDS = 600.0
"""Time for which a finished attempt waits for a store that is away, rather than be made again."""
PAUSE_SECONDS = 2.0

T = TypeVar("T")


@contextmanager
def published(attempt: Attempt, *, rank: int) -> Generator[None]:
    """Publish journal, log and resume points of an attempt while the body lasts, and at its end.

    The first rank of each node calls it; only rank 0 removes resume points that are no longer kept,
    since the other nodes may lag behind it.
    """
    if isinstance(attempt.objects, LocalStore):
        yield
        return
    again = partial(publish, attempt, rank)
    try:
        with repeated(again, PUBLISH_SECONDS, "publisher"):
            yield
    finally:
        patiently(again)


def publish(attempt: Attempt, rank: int) -> None:
    """Bring the store up to what the attempt has written locally; raises TryAgain."""
    objects, name = attempt.objects, attempt.name
    if rank == 0:
        objects.publish(f"{name}/journal")
        if attempt.log.exists():
            objects.write(f"{name}/log.txt", attempt.log.read_bytes())
    objects.publish(f"{name}/resume")
    if rank == 0:
        kept = {path.name for path in attempt.resume.glob("*")}
        for point in objects.names(f"{name}/resume"):
            if kept and point < min(kept):
                objects.delete(f"{name}/resume/{point}")


def patiently(action: Callable[[], T]) -> T:
    """Return what `action` returns, trying again for minutes while the store is away."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return action()
        except TryAgain:
            if time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_SECONDS)
