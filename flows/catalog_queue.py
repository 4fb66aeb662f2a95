"""Write the catalog behind a run, in order, so that the run never waits for its database.

The catalog is a view. While its server is away, what happens is kept here and written when it is
back. What cannot be written by the end of the run, `strata catalog rebuild` fills in from the
store.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable

from sqlalchemy.exc import OperationalError, SQLAlchemyError

from components.catalog.session import Catalog, open_catalog
from components.contract import StageFailure, TryAgain

Write = Callable[[Catalog], None]

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds between two tries while the database is away; each pause is twice the one before."""
PATIENCE = 10.0
"""Seconds for which the end of a run waits for a database that takes nothing."""


class CatalogQueue:
    """Hold what a catalog is still to be told; safe to use from several threads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: deque[Write] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ending = False
        self._refused = False

    def put(self, write: Write) -> None:
        """Have something written after all that came before; it may be carried out twice."""
        with self._changed:
            if self._refused:
                return
            self._waiting.append(write)
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="catalog", daemon=True)
                self._thread.start()

    def close(self, patience: float = PATIENCE) -> None:
        """Wait until all is written, or until nothing was for `patience` seconds."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
            left = len(self._waiting) + 1
            while 0 < len(self._waiting) < left:
                left = len(self._waiting)
                self._changed.wait_for(lambda left=left: len(self._waiting) < left, patience)
            lacking = len(self._waiting)
            self._waiting.clear()
        if lacking:
            _say(
                f"the catalog is still away and lacks {lacking} changes of this run: "
                "`strata catalog rebuild` fills the gap"
            )
        elif self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        catalog: Catalog | None = None
        pause = FIRST_PAUSE
        while write := self._next():
            try:
                catalog = catalog or open_catalog(self._url)
                write(catalog)
            except (TryAgain, OperationalError) as error:
                if pause == FIRST_PAUSE:
                    _say(f"{_first_line(error)} The run goes on; the catalog is told later.")
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            except (SQLAlchemyError, StageFailure) as error:
                self._refuse(error)
                break
            if pause != FIRST_PAUSE:
                pause = FIRST_PAUSE
                _say("the catalog answers again and is told what it has missed")
            with self._changed:
                if self._waiting:
                    self._waiting.popleft()
                self._changed.notify_all()
        if catalog is not None:
            catalog.close()

    def _next(self) -> Write | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ending)
            return self._waiting[0] if self._waiting else None

    def _refuse(self, error: Exception) -> None:
        with self._changed:
            self._refused = True
            self._waiting.clear()
            self._changed.notify_all()
        _say(
            f"the catalog cannot be written ({_first_line(error)}); the run goes on. "
            "`strata catalog rebuild` fills the gap."
        )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _say(what: str) -> None:
    print(what, file=sys.stderr)
