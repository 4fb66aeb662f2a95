"""Do something again and again beside other work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

from components.contract import TryAgain


@contextmanager
def repeated(action: Callable[[], object], seconds: float, name: str) -> Generator[None]:
    """Do it at once, and every so many seconds while the body lasts, in a thread of that name.

    A full disk or a store that is away is the body's business, if at all, and ends neither.
    """
    done = threading.Event()

    def repeat() -> None:
        while True:
            with suppress(OSError, TryAgain):
                action()
            if done.wait(seconds):
                return

    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
