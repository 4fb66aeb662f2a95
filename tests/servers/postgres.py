"""A real PostgreSQL server for tests, from the binaries that the `pgserver` wheel carries.

PostgreSQL refuses to run as root; a test that does gives the server's files to `nobody`.
"""

from __future__ import annotations

import itertools
import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from importlib import util
from pathlib import Path
from typing import Any

import psycopg

from tests.servers.s3_server import free_port

USER = "strata"


class PostgresServer:
    """Hold one server on a loopback port; it asks for a password."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.password = secrets.token_hex(8)
        self._numbers = itertools.count()
        found = util.find_spec("pgserver")
        assert found is not None
        assert found.origin is not None
        self._installed = Path(found.origin).parent

    def make(self) -> None:
        """Create the server's files."""
        self.directory.mkdir(parents=True)
        secret = self.directory / "password"
        secret.write_text(self.password)
        if os.geteuid() == 0:
            # Where the environment lies, nobody may not pass; here everybody may.
            for name in ("pgserver", "pgserver.libs"):
                found = self._installed.with_name(name)
                shutil.copytree(found, self.directory / name, symlinks=True)
            self._installed = self.directory / "pgserver"
            nobody = pwd.getpwnam("nobody")
            for path in (self.directory, secret):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        options = ["--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", f"--username={USER}"]
        data = ["--pgdata", str(self.directory / "data"), "--pwfile", str(secret), "--no-sync"]
        self._run("initdb", *data, *options)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = f"-p {self.port} -h 127.0.0.1 -k '' -c fsync=off -c max_connections=200"
        self._control("start", "-w", "-o", options, "-l", str(self.directory / "log"))

    def stop(self) -> None:
        """Stop the server; connections are cut."""
        self._control("stop", "-w", "-m", "fast")

    def kill(self) -> None:
        """Stop it as a power cut does; the next start recovers what was committed."""
        self._control("stop", "-w", "-m", "immediate")

    def url(self, name: str = "", template: str = "template1") -> str:
        """Make a database, with a name of its own without one, and return its URL."""
        name = name or f"test_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url_of(name)

    def url_of(self, name: str) -> str:
        """Return the URL of a database, whether or not it exists."""
        return f"postgresql+psycopg://{USER}:{self.password}@127.0.0.1:{self.port}/{name}"

    def connect(self, name: str = "postgres") -> psycopg.Connection[Any]:
        """Open a plain connection."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=self.password,
            dbname=name,
            autocommit=True,
        )

    def _control(self, verb: str, *options: str) -> None:
        self._run("pg_ctl", verb, "-D", str(self.directory / "data"), *options)

    def _run(self, program: str, *arguments: str) -> None:
        who: dict[str, Any] = {"user": "nobody", "extra_groups": []} if os.geteuid() == 0 else {}
        with (self.directory / "programs.log").open("ab") as log:
            done = subprocess.run(
                [str(self._installed / "pginstall/bin" / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                check=False,
                **who,
            )
        told = (self.directory / "programs.log").read_text(errors="replace")
        assert done.returncode == 0, told[-2000:]


@contextmanager
def postgres(directory: Path) -> Generator[PostgresServer]:
    """Run a server in a new directory until the context is left.

    A server that root starts runs as nobody, so every directory above must let anybody pass.
    """
    server = PostgresServer(directory)
    server.make()
    server.start()
    try:
        yield server
    finally:
        server.kill()
