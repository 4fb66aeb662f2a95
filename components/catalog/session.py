"""Open the catalog, bring its schema up to date, and hand out read and write transactions.

SQLite runs in WAL mode, so that readers never wait for the orchestrator. A write transaction takes
the write lock when it begins (`BEGIN IMMEDIATE`): one that reads first and asks for the lock later
fails at once when another writer came between, whatever the busy timeout is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import OperationalError

from components.catalog.tables import HEAD
from components.contract import BadInput, EnvironmentMissing, TryAgain

BUSY_SECONDS = 30
"""How long a writer waits for another one; a write takes milliseconds."""
REFUSALS = ("authentication failed", "does not exist", "no pg_hba.conf entry")
"""Words of a PostgreSQL server that is there and refuses; the driver passes no code on."""


class Catalog:
    """Hold the connections to one catalog; safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writing = engine.execution_options(strata_write=True)

    @property
    def url(self) -> str:
        """URL of the database without its password."""
        return self.engine.url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Generator[Connection]:
        """Yield a connection that sees one state of the catalog."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Generator[Connection]:
        """Yield a connection whose changes are committed together at the end, or not at all."""
        with self._writing.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def open_catalog(url: str) -> Catalog:
    """Open the catalog at a SQLAlchemy URL, creating or migrating it where needed.

    Raises BadInput for a URL that names no usable database or one written by a newer version,
    EnvironmentMissing where the server refuses role or database, and TryAgain where it does not
    answer.
    """
    catalog = Catalog(make_engine(url))
    try:
        revision = schema_revision(catalog)
        if revision != HEAD:
            upgrade(catalog, revision)
    except OperationalError as error:
        message = f"the catalog {catalog.url} does not answer: {error.orig}"
        if catalog.engine.dialect.name == "sqlite":
            raise BadInput(f"{message}. Check the path and its permissions.") from None
        if any(refusal in str(error.orig) for refusal in REFUSALS):
            raise EnvironmentMissing(
                f"{message}. Correct STRATA_CATALOG, or make the role and the database."
            ) from None
        raise TryAgain(f"{message}. Start the database, or change STRATA_CATALOG.") from None
    except exc.DatabaseError as error:
        raise BadInput(
            f"the catalog {catalog.url} is not usable: {error.orig}. Move it aside; "
            "`strata catalog rebuild` makes it again from the store."
        ) from None
    return catalog


def make_engine(url: str) -> Engine:
    """Create the engine of a URL with the settings that the catalog relies on."""
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(parsed, pool_pre_ping=parsed.get_backend_name() != "sqlite")
    except (exc.ArgumentError, exc.NoSuchModuleError, ImportError) as error:
        raise BadInput(
            f"STRATA_CATALOG: {error}. Write sqlite:///PATH or postgresql+DRIVER://HOST/NAME, "
            "with the driver installed."
        ) from None
    except OSError as error:
        raise BadInput(f"the catalog's directory cannot be made: {error}") from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def schema_revision(catalog: Catalog) -> str | None:
    """Return the schema's revision, or None for an empty database."""
    with catalog.read() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def upgrade(catalog: Catalog, revision: str | None = None, target: str = "head") -> None:
    """Migrate the schema to `target`; of processes that try at once, one migrates and the others
    wait.

    Raises BadInput for a schema of a newer Strata.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "components.catalog:migrations")
    config.attributes["catalog"] = catalog
    try:
        (command.downgrade if target != "head" else command.upgrade)(config, target)
    except CommandError as error:
        raise BadInput(
            f"the catalog {catalog.url} has the schema {revision}, which this version does not "
            f"know ({error}): upgrade Strata, or point STRATA_CATALOG elsewhere"
        ) from None


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # Python's driver would begin transactions by itself, and not before schema changes.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("strata_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
