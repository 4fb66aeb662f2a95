"""Run the catalog's migrations, one process at a time.

Processes that migrate at start race: without a lock the second one fails on the first one's
tables. On PostgreSQL the lock is an advisory one; on SQLite it is a file beside the database,
because the switch to WAL, which cannot happen inside a transaction, needs it too.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import context
from filelock import FileLock

from components.catalog.session import Catalog
from components.catalog.tables import metadata

_ADVISORY_LOCK = 0x537472617461  # "Strata"


@contextmanager
def locked(catalog: Catalog) -> Generator[sa.Connection]:
    """Yield a write transaction that no other migrating process holds."""
    engine = catalog.engine
    if engine.dialect.name != "sqlite":
        with catalog.write() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
            yield connection
        return
    with FileLock(f"{engine.url.database}.migrating"):
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode = WAL")
        finally:
            raw.close()
        with catalog.write() as connection:
            yield connection


with locked(context.config.attributes["catalog"]) as connection:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transactional_ddl=True,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()
