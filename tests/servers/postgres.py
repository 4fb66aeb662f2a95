"""A real PostgreSQL server on loopback, for tests that stop it, kill it and start it again.

The programs come from the wheel `pgserver`, or from Debian's `postgresql` where Python has no such
wheel. A server must not run as root: there it runs as nobody, who keeps the right to pass through
root's directories. Nothing is flushed to the disk, but what is committed outlives a killed server.

    with postgres(tmp_path) as server:
        catalog = open_catalog(server.url("catalog"))
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql

from tests.servers.s3_server import DIES_WITH_US, free_port

USER, PASSWORD = "strata", "secret-of-the-tests"
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",  # a killed server leaves nothing in /dev/shm
    "jit": "off",
    "autovacuum": "off",
    # Not the defaults of a C locale, so that nothing relies on them.
    "timezone": "Asia/Kolkata",
}


@dataclass
class Postgres:
    """Hold a server, which keeps its port and its databases while it is down."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    made: set[str] = field(default_factory=set[str])
    starter: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    """The one thread that starts it: a server that dies with us dies with the thread it is of."""

    def url(self, name: str = "", *, template: str = "template1") -> str:
        """Return the URL of a database, which is made where it was not asked for before; without a
        name it is a new one.
        """
        name = name or f"unnamed_{secrets.token_hex(4)}"
        if name not in self.made:
            self._execute("CREATE DATABASE {} TEMPLATE {}", name, template)
            self.made.add(name)
        return f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def drop(self, name: str) -> None:
        """Remove a database and throw out whoever uses it."""
        self._execute("DROP DATABASE {} WITH (FORCE)", name)
        self.made.discard(name)

    def start(self) -> None:
        """Start the server and return once it answers."""
        settings = {**SETTINGS, "port": str(self.port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        # A killed server's note names a process that may be someone else by now.
        (self.directory / "data" / "postmaster.pid").unlink(missing_ok=True)
        with (self.directory / "postgres.log").open("ab") as log:
            self.process = self.starter.submit(
                subprocess.Popen,
                [
                    *_as_nobody(),
                    *(_program("postgres"), "-D", str(self.directory / "data"), *options),
                ],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            ).result()
        deadline = time.monotonic() + 60
        while not self._answers():
            told = (self.directory / "postgres.log").read_text()[-2000:]
            assert self.process.poll() is None, f"the server ended by itself:\n{told}"
            assert time.monotonic() < deadline, f"the server does not answer:\n{told}"
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server; whoever is connected is thrown out, and what is open is rolled back."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End the server as a crash of its machine does: nobody is told, nothing is tidied up."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop the server and start it again."""
        self.stop()
        self.start()

    def _end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        family = [process.pid, *_children(process.pid)]
        process.send_signal(how)
        if how is signal.SIGKILL:
            for pid in family[1:]:
                _kill(pid)
        process.wait(60)
        _wait_until_gone(family[1:])

    def _answers(self) -> bool:
        try:
            self._connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self, name: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=PASSWORD,
            dbname=name,
            autocommit=True,
            connect_timeout=5,
        )

    def _execute(self, statement: str, *names: str) -> None:
        with self._connect("postgres") as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def postgres(directory: Path) -> Generator[Postgres]:
    """Make a server under `directory` and run it until the context is left."""
    place = directory / "postgres"
    place.mkdir(parents=True)
    if os.geteuid() == 0:
        shutil.chown(place, "nobody")
    password = place / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    made = subprocess.run(
        [
            *_as_nobody(),
            _program("initdb"),
            *("-D", str(place / "data"), "-U", USER, f"--pwfile={password}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"),
        ],
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    server = Postgres(place, free_port())
    try:
        server.start()
        yield server
    finally:
        server.kill()
        server.starter.shutdown()
        shutil.rmtree(place, ignore_errors=True)


def _program(name: str) -> str:
    wheel = importlib.util.find_spec("pgserver")
    places = [
        Path(place) / "pginstall/bin"
        for place in (wheel and wheel.submodule_search_locations) or ()
    ]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which(name, path=os.pathsep.join(map(str, places)))
    assert found, f"no {name}: pip install pgserver, or apt-get install postgresql"
    everybody_may = all(parent.stat().st_mode & stat.S_IXOTH for parent in Path(found).parents)
    if os.geteuid() == 0 and not everybody_may:
        return str(_copy_of(Path(found).parents[2]) / "pginstall/bin" / name)
    return found


@cache
def _copy_of(wheel: Path) -> Path:
    """Copy the wheel to where nobody may go, and return its package there."""
    place = Path(tempfile.mkdtemp(prefix="strata-postgres-wheel-"))
    place.chmod(0o755)
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    for part in (wheel, wheel.with_name(f"{wheel.name}.libs")):
        if part.is_dir():
            shutil.copytree(part, place / part.name, symlinks=True)
    return place / wheel.name


def _as_nobody() -> tuple[str, ...]:
    if os.geteuid() != 0:
        return DIES_WITH_US
    nobody = pwd.getpwnam("nobody")
    return (
        *DIES_WITH_US,
        f"--reuid={nobody.pw_uid}",
        f"--regid={nobody.pw_gid}",
        *("--clear-groups", "--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"),
    )


def _children(pid: int) -> list[int]:
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except OSError:
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _wait_until_gone(pids: Iterable[int]) -> None:
    # A server that starts while an old one's processes hold its memory refuses to.
    for pid in pids:
        while _lives(pid):
            time.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
