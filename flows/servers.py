"""The local servers: Prefect with a worker, MLflow and the dashboard, up and down together.

All of them listen on 127.0.0.1 and outlive the command that started them. `servers.json` under the
home is written before the first one starts, so that `down` also ends what an `up` left that was
itself killed. Databases, artifacts and logs stay under the home.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from components.contract import EnvironmentMissing, TryAgain
from components.settings import Settings
from flows.server_processes import (
    Server,
    end_marked,
    free_port,
    last_lines,
    marked,
    port_holder,
    python_environment,
    start,
    started_at,
)
from flows.server_programs import (
    ServerUrls,
    answers,
    mlflow_database,
    prefect_environment,
    server_programs,
    server_urls,
    status,
)

START_SECONDS = 90.0
"""Time in which every server must be healthy; measured: 11 to 20 s with new databases."""
STOP_SECONDS = 25.0
"""Time a server, or a step that a worker runs, has to save what it holds."""

Say = Callable[[str], None]


def up(settings: Settings, say: Say = lambda _: None) -> ServerUrls:
    """Start what is not running and return once every server is healthy.

    Servers that are up stay as they are. Raises EnvironmentMissing for a port that is taken or a
    server that does not start; nothing that this call started is left then.
    """
    with _alone(settings):
        found = running(settings)
        if found is not None and _all_healthy(settings):
            return found
        if _state(settings) is not None:
            say("ending servers of an earlier start that are not well")
            _end(settings)
        servers = server_programs(settings, since=time.time())
        for server in servers:
            _refuse_taken_port(server)
        token, urls = secrets.token_hex(16), server_urls(settings)
        _write_state(settings, {"token": token, "urls": asdict(urls), "processes": {}})
        try:
            _start_all(settings, servers, token, say)
        except BaseException:
            _end(settings, patience=3.0)
            raise
        return urls


def down(settings: Settings) -> bool:
    """End the servers that `up` started, with all their children; False where there were none.

    Databases, artifacts and logs are kept. A run that the worker carries out saves a resume point.
    """
    with _alone(settings):
        return _end(settings)


def running(settings: Settings) -> ServerUrls | None:
    """Return where the servers are while every one of their processes lives; asks no server."""
    state = _state(settings)
    if state is None or not state["processes"]:
        return None
    alive = all(started_at(each["pid"]) == each["at"] for each in state["processes"].values())
    return ServerUrls(**state["urls"]) if alive else None


def prefect_url(settings: Settings) -> str | None:
    """Return the Prefect API to use: the one that is set, else the one that is up, else None.

    Raises TryAgain where the one that is set does not answer, and EnvironmentMissing where it asks
    for a login that PREFECT_API_AUTH_STRING does not give.
    """
    if settings.prefect:
        found = status(f"{settings.prefect.rstrip('/')}/health", seconds=5.0)
        if found == 401:
            _refuse_without_login(settings.prefect)
        elif found != 200:
            raise TryAgain(
                f"the Prefect API at {settings.prefect} does not answer\n"
                "Fix: start it, or unset STRATA_PREFECT to use a private one"
            )
        return settings.prefect
    url = _url_of(settings, "prefect")
    return f"{url}/api" if url and answers(f"{url}/api/health") else None


def mlflow_uri(settings: Settings) -> str:
    """Return the MLflow to use: the one that is set, else the server that is up, else its
    database.
    """
    if settings.mlflow:
        return settings.mlflow
    url = _url_of(settings, "mlflow")
    return url if url and answers(f"{url}/health") else mlflow_database(settings)


@contextmanager
def private_prefect_server(settings: Settings) -> Generator[str]:
    """Serve Prefect's API on a free loopback port while the body lasts; yield the API's URL.

    The database is the one of `strata up`, so that runs made without servers are seen there later.
    The server ends with this process, whatever ends it. Raises EnvironmentMissing where it does not
    start.
    """
    port = free_port()
    log = settings.home / "logs" / "prefect-private.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = prefect_environment(settings, port) | {"PREFECT_SERVER_UI_ENABLED": "false"}
    command = ("-m", "flows.prefect_api", str(port), "--end-with-parent")
    url = f"http://127.0.0.1:{port}/api"
    with log.open("wb") as output, FileLock(settings.home / "prefect-start.lock"):
        # The lock covers the start alone: two servers that migrate one new database collide.
        process = subprocess.Popen(
            [sys.executable, *command],
            env=python_environment(**environment),
            cwd=settings.home,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the run, which still needs the API to stop
        )
        try:
            _wait_for(lambda: answers(f"{url}/health"), process, "prefect", log)
        except BaseException:
            _stop(process)
            raise
    try:
        yield url
    finally:
        _stop(process)


def _refuse_without_login(url: str) -> None:
    """Ask with the login that Prefect's own settings hold; it is refused, or all is well."""
    from flows.prefect_client import prefect_client

    with prefect_client(url) as client:
        refused = client.api_healthcheck()
    if refused is not None:
        raise EnvironmentMissing(
            f"the Prefect API at {url} asks for a login, and PREFECT_API_AUTH_STRING holds none "
            "that it knows\nFix: export PREFECT_API_AUTH_STRING=user:password"
        ) from refused


def _refuse_taken_port(server: Server) -> None:
    holder = port_holder(server.port) if server.port else None
    if holder:
        raise EnvironmentMissing(
            f"port {server.port} of the {server.name} server is taken by {holder}: end it, or "
            f"choose another port with {server.setting}=PORT. Nothing was started."
        )


def _start_all(settings: Settings, servers: tuple[Server, ...], token: str, say: Say) -> None:
    waiting, started = list(servers), time.monotonic()
    processes: dict[str, subprocess.Popen[bytes]] = {}
    healthy: set[str] = set()
    while len(healthy) < len(servers):
        for server in [s for s in waiting if not s.after or s.after in healthy]:
            waiting.remove(server)
            log = settings.home / "logs" / f"{server.name}.log"
            processes[server.name] = start(server, token, log, settings.home)
            _remember(settings, server.name, processes[server.name].pid)
        for server in servers:
            if server.name in processes and server.name not in healthy and server.healthy():
                healthy.add(server.name)
                say(f"{server.name} is up after {time.monotonic() - started:.0f} s")
        for name, process in processes.items():
            _refuse_dead(name, process, settings.home / "logs" / f"{name}.log")
        late = [s.name for s in servers if s.name not in healthy]
        if late and time.monotonic() - started > START_SECONDS:
            raise EnvironmentMissing(
                f"{', '.join(late)}: not healthy after {START_SECONDS:.0f} s; everything was ended "
                f"again. The logs are in {settings.home / 'logs'}."
            )
        time.sleep(0.2)


def _wait_for(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], name: str, log: Path
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        _refuse_dead(name, process, log)
        if time.monotonic() > deadline:
            raise EnvironmentMissing(
                f"{name} is not healthy after {START_SECONDS:.0f} s: see {log}"
            )
        time.sleep(0.1)


def _refuse_dead(name: str, process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        raise EnvironmentMissing(
            f"the {name} server ended with code {process.returncode}: {last_lines(log)}. "
            f"The whole log is {log}."
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end(settings: Settings, patience: float = STOP_SECONDS) -> bool:
    state = _state(settings)
    if state is None:
        return False
    found = bool(marked(state["token"]))
    end_marked(state["token"], patience)
    _state_file(settings).unlink(missing_ok=True)
    return found


def _all_healthy(settings: Settings) -> bool:
    return all(server.healthy() for server in server_programs(settings))


def _url_of(settings: Settings, name: str) -> str | None:
    """Return the URL of one server that `up` started, if its process lives."""
    state = _state(settings)
    process = state["processes"].get(name) if state else None
    if state is None or process is None or started_at(process["pid"]) != process["at"]:
        return None
    return str(state["urls"][name])


@contextmanager
def _alone(settings: Settings) -> Generator[None]:
    settings.home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(settings.home / "servers.lock", timeout=START_SECONDS + STOP_SECONDS):
            yield
    except Timeout:
        raise TryAgain("another `strata up` or `strata down` is at work on this home") from None


def _state_file(settings: Settings) -> Path:
    return settings.home / "servers.json"


def _state(settings: Settings) -> dict[str, Any] | None:
    try:
        return json.loads(_state_file(settings).read_bytes())
    except (OSError, ValueError):
        return None


def _write_state(settings: Settings, state: dict[str, Any]) -> None:
    temporary = _state_file(settings).with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(state, indent=1))
    temporary.replace(_state_file(settings))


def _remember(settings: Settings, name: str, pid: int) -> None:
    state = _state(settings)
    assert state is not None
    state["processes"][name] = {"pid": pid, "at": started_at(pid)}
    _write_state(settings, state)
