"""Write to the catalog from a thread of its own, in order, however long its database is away.

The catalog is a view: whoever works on a run must not wait for it. A connection that was swallowed
on its way would hold a writer for as long as the network pleases.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from components.catalog.session import Catalog, open_catalog
from components.contract import StageFailure

PAUSE_SECONDS = 2.0
"""Between two tries while the database is away."""
LAST_SECONDS = 10.0
"""How long `close` waits for what is left; longer than one writer of SQLite waits for another."""

Write = Callable[[Catalog], None]


class CatalogWriter:
    """Carry writes out one after the other; safe to use from several threads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: deque[Write] = deque()
        self._over = False
        self._told = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, write: Write) -> None:
        """Have something written, soon. It may be tried several times."""
        with self._changed:
            self._waiting.append(write)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="catalog", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Wait until everything is written, or until it is clear that it will not be soon."""
        with self._changed:
            self._over = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(LAST_SECONDS)
            if self._waiting and not self._told:
                self._tell("it does not answer")

    def _work(self) -> None:
        catalog: Catalog | None = None
        while (write := self._next()) is not None:
            try:
                catalog = catalog or open_catalog(self._url)
                write(catalog)
            except (SQLAlchemyError, StageFailure, OSError) as error:
                self._tell(str(error).splitlines()[0])
                if self._over:
                    break
                with self._changed:
                    self._changed.wait_for(lambda: self._over, PAUSE_SECONDS)
            else:
                self._waiting.popleft()
        if catalog is not None:
            catalog.close()

    def _next(self) -> Write | None:
        """Return what is to be written next; None after the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._waiting)
            return self._waiting[0] if self._waiting else None

    def _tell(self, reason: str) -> None:
        if not self._told:
            print(
                f"the catalog cannot be written ({reason}); the run goes on. What it lacks is "
                "written when it answers, else by `strata catalog rebuild`.",
                file=sys.stderr,
            )
        self._told = True
