"""Open the catalog, bring its schema up to date, and hand out read and write transactions.

SQLite runs in WAL mode, so that readers never wait for the orchestrator. A write transaction takes
the write lock when it begins (`BEGIN IMMEDIATE`): one that reads first and asks for the lock later
fails at once when another writer came between, whatever the busy timeout is. On PostgreSQL, which
has no such trouble, a reader sees one snapshot (`REPEATABLE READ`).
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import OperationalError

from components.catalog.tables import HEAD
from components.contract import BadInput, EnvironmentMissing, StageFailure, TryAgain

BUSY_SECONDS = 30
"""How long a writer waits for another one; a write takes milliseconds."""
ANSWER_SECONDS = 10
"""How long a PostgreSQL server may take to accept a connection, and the network to pass data on."""
REFUSALS = (
    "authentication failed",
    "no password supplied",
    "pg_hba.conf",
    'role "',
    "permission denied",
)
"""Words of a server that answers, and will answer the same until someone changes something."""

_MIGRATING = threading.Lock()
"""Alembic keeps what it works on in globals, so one thread at a time may use it."""
_URLS = "Write sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/NAME."


class Catalog:
    """Hold the connections to one catalog; safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writing = engine.execution_options(strata_write=True)
        self._reading = engine
        if engine.dialect.name == "postgresql":
            self._reading = engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )

    @property
    def url(self) -> str:
        """URL of the database without its password, and without options, which may hold one."""
        return self.engine.url.set(query={}).render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Generator[Connection]:
        """Yield a connection that sees one state of the catalog.

        Raises TryAgain where a server does not answer and EnvironmentMissing where it refuses.
        """
        with self._told(), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Generator[Connection]:
        """Yield a connection whose changes are committed together at the end, or not at all.

        Raises as `read` does; whether an interrupted commit came through is then not known.
        """
        with self._told(), self._writing.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def _told(self) -> Generator[None]:
        try:
            yield
        except OperationalError as error:
            if self.engine.dialect.name != "postgresql":
                raise
            raise _refusal(self.url, str(error.orig)) from None


@dataclass(frozen=True)
class Condition:
    """Say what a catalog is."""

    url: str
    """Without its password."""
    server: str
    """Kind and version of the database."""
    revision: str | None
    """Revision of the schema; None for an empty database."""


def open_catalog(url: str) -> Catalog:
    """Open the catalog at a SQLAlchemy URL, creating or migrating it where needed.

    Raises BadInput for a URL that names no usable database or one written by a newer version,
    EnvironmentMissing where the driver, the database or the right to use it is missing, and
    TryAgain where the server does not answer.
    """
    catalog = Catalog(make_engine(url))
    with _usable(catalog):
        revision = schema_revision(catalog)
        if revision != HEAD:
            upgrade(catalog, revision)
    return catalog


def condition(url: str) -> Condition:
    """Look at the catalog at a SQLAlchemy URL without changing it; raises as `open_catalog`."""
    catalog = Catalog(make_engine(url))
    with _usable(catalog):
        revision = schema_revision(catalog)
    catalog.close()
    dialect: Any = catalog.engine.dialect
    names = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
    version = ".".join(map(str, dialect.server_version_info))
    return Condition(catalog.url, f"{names[dialect.name]} {version}", revision)


@contextmanager
def _usable(catalog: Catalog) -> Generator[None]:
    try:
        yield
    except OperationalError as error:
        raise BadInput(
            f"the catalog {catalog.url} does not answer: {error.orig}. Check the path and its "
            "permissions."
        ) from None
    except exc.DatabaseError as error:
        if "permission denied" in str(error.orig):
            raise _refusal(catalog.url, str(error.orig)) from None
        raise BadInput(
            f"the catalog {catalog.url} is not usable: {error.orig}. Move it aside, or change "
            "STRATA_CATALOG; `strata catalog rebuild` makes it again from the store."
        ) from None


def make_engine(url: str) -> Engine:
    """Create the engine of a URL with the settings that the catalog relies on."""
    try:
        parsed = sa.make_url(url)
        kind = parsed.get_backend_name()
        if kind == "postgresql":
            return _postgresql(parsed)
        if kind != "sqlite":
            raise exc.ArgumentError(f"a catalog cannot lie in {kind}")
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(parsed)
    except ValueError:
        raise BadInput("STRATA_CATALOG: the port is not a number.\n" + _URLS) from None
    except (exc.ArgumentError, exc.NoSuchModuleError) as error:
        raise BadInput(f"STRATA_CATALOG: {error}.\n{_URLS}") from None
    except OSError as error:
        raise BadInput(f"the catalog's directory cannot be made: {error}") from None
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgresql(url: sa.URL) -> Engine:
    if url.drivername not in {"postgresql", "postgresql+psycopg"}:
        raise exc.ArgumentError(f"{url.drivername} is not a driver of the catalog")
    patience = {"connect_timeout": ANSWER_SECONDS, "tcp_user_timeout": ANSWER_SECONDS * 1000}
    # A database of the encoding SQL_ASCII would answer in bytes.
    named = {"application_name": "strata", "client_encoding": "utf8", **patience}
    try:
        return sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,  # a connection that its server has dropped is opened again
            connect_args={name: value for name, value in named.items() if name not in url.query},
        )
    except ImportError as error:
        raise EnvironmentMissing(
            f"the catalog's database {url.database} on {url.host} needs the package psycopg "
            f"({error}).\nFix: pip install 'strata[cluster]', or unset STRATA_CATALOG"
        ) from None


def _refusal(url: str, cause: str) -> StageFailure:
    """Name what a PostgreSQL server that does not serve said, and what to do.

    Its answers to a new connection come without a code, so they are told by their words; what is
    not known is taken for an outage, which passes.
    """
    words = re.sub(r"^connection failed: .* failed: (FATAL: +)?", "", cause.strip().split("\n")[0])
    if "database" in words and words.endswith("does not exist"):
        fix = "create it with createdb, or correct STRATA_CATALOG"
    elif any(sign in words for sign in REFUSALS):
        fix = "correct the user or the password in STRATA_CATALOG, or give the user its rights"
    else:
        return TryAgain(
            f"the catalog {url} does not answer: {words}.\n"
            "Fix: start the database and try again, or change STRATA_CATALOG"
        )
    return EnvironmentMissing(f"the catalog {url} cannot be used: {words}.\nFix: {fix}")


def schema_revision(catalog: Catalog) -> str | None:
    """Return the schema's revision, or None for an empty database."""
    with catalog.read() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def upgrade(catalog: Catalog, revision: str | None = None, target: str = "head") -> None:
    """Migrate the schema from `revision` to `target`, upwards for an empty database and for
    `head`, else downwards; of processes that try at once, one migrates and the others wait.

    Raises BadInput for a schema of a newer Strata.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "components.catalog:migrations")
    config.attributes["catalog"] = catalog
    try:
        upwards = target == "head" or revision is None
        with _MIGRATING:
            (command.upgrade if upwards else command.downgrade)(config, target)
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
