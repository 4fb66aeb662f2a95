"""The real servers, on free ports: up, used, killed, down; nothing of them stays. The login that
docker-compose.yml puts in front of them is asked for on all their routes.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from components.contract import EnvironmentMissing, TryAgain
from components.settings import Settings
from flows.server_processes import free_port, marked, port_holder, started_at
from flows.servers import (
    down,
    mlflow_uri,
    prefect_url,
    running,
    up,
)
from tests.servers.gateway import BEHIND, LOGIN, gateway

NAMES = {"prefect", "mlflow", "dashboard", "worker"}


def on_free_ports(home: Path) -> Settings:
    ports = {f"{name}_port": free_port() for name in ("prefect", "mlflow", "dashboard")}
    return Settings(home=home, **ports)


def ports(settings: Settings) -> list[int]:
    return [settings.prefect_port, settings.mlflow_port, settings.dashboard_port]


def state(settings: Settings) -> dict:
    return json.loads((settings.home / "servers.json").read_text())


def wait_until(holds, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def status(url: str, method: str = "get", **headers: str) -> int:
    try:
        request = urllib.request.Request(url, headers=headers, method=method.upper())
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def handshake(url: str, origin: str = "", **headers: str) -> int:
    """Ask for a websocket, as a page of `origin` does; return the status of the answer."""
    place, path = urlsplit(url).netloc, urlsplit(url).path
    asked = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": b64encode(b"sixteen bytes...").decode(),
        "Origin": origin or f"http://{place}",
    }
    with closing(HTTPConnection(place, timeout=10)) as connection:
        connection.request("GET", path, headers=asked | headers)
        return connection.getresponse().status


@pytest.fixture(scope="module")
def servers(tmp_path_factory, prefect_home) -> Iterator[Settings]:
    settings = on_free_ports(prefect_home(tmp_path_factory.mktemp("servers") / "home"))
    said: list[str] = []
    up(settings, said.append)
    assert {line.split()[0] for line in said} == NAMES
    yield settings
    down(settings)


@pytest.fixture
def idle(tmp_path, prefect_home) -> Iterator[Settings]:
    settings = on_free_ports(prefect_home(tmp_path / "home"))
    yield settings
    down(settings)


def test_every_page_answers_on_the_loopback_address_only(servers):
    urls = running(servers)
    assert urls is not None
    for url in (urls.prefect, urls.mlflow, urls.dashboard):
        assert status(url) == 200
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    local = {f"{port:04X}" for port in ports(servers)}
    addresses = {row[1].split(":")[0] for row in listening if row[1].split(":")[1] in local}
    assert addresses == {"0100007F"}


def test_no_server_is_reached_by_another_name(servers):
    """A page of another site can point its name at the loopback address."""
    urls = running(servers)
    assert urls is not None
    assert status(urls.mlflow, Host="evil.example") == 403
    assert status(f"{urls.prefect}/api/health", Host="evil.example") == 400
    events, pages = f"{urls.prefect}/api/events/in", f"{urls.dashboard}/_stcore/stream"
    assert handshake(events, Host="evil.example") == 400
    assert handshake(pages, Host="evil.example") == 403
    assert handshake(pages, origin="http://evil.example") == 403
    assert (handshake(events), handshake(pages)) == (101, 101)
    assert handshake(pages, Host=f"localhost:{servers.dashboard_port}") == 101


@pytest.fixture(scope="module")
def doors(servers, tmp_path_factory) -> Iterator[dict[str, str]]:
    """Put the gateway of docker-compose.yml in front of the servers; its addresses by name."""
    behind = dict(zip(BEHIND, ports(servers), strict=True))
    with gateway(tmp_path_factory.mktemp("gateway"), behind) as addresses:
        yield addresses


def login(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}


WEBSOCKETS = (
    *(f"prefect/api/{path}" for path in ("events/in", "events/out", "logs/out")),
    "prefect/api/task_runs/subscriptions/scheduled",
    "dashboard/_stcore/stream",
)


def test_every_route_behind_the_gateway_asks_for_a_login(servers, doors):
    with urllib.request.urlopen(f"http://127.0.0.1:{servers.prefect_port}/openapi.json") as answer:
        known = json.load(answer)["paths"]
    routes = [(method, f"prefect{path}") for path, each in known.items() for method in each]
    assert len(routes) > 150
    pages = ("prefect/", "prefect/runs", "mlflow/", "mlflow/health", "mlflow/version", "mlflow/api")
    routes += [("get", page) for page in (*pages, "dashboard/", "dashboard/_stcore/health")]
    routes += [
        ("get", f"mlflow/{base}/2.0/mlflow/experiments/search") for base in ("api", "ajax-api")
    ]
    for headers in ({}, login(LOGIN[0], "guessed"), login("guest", LOGIN[1])):
        found = {(asked, status(at(doors, asked[1]), asked[0], **headers)) for asked in routes}
        assert {code for _, code in found} == {401}, [each for each in found if each[1] != 401][:5]
        for path in WEBSOCKETS:
            assert handshake(at(doors, path), **headers) == 401, path
    for name in doors:
        assert status(doors[name], Host="evil.example", **login(*LOGIN)) == 403


def at(doors: dict[str, str], path: str) -> str:
    name, _, rest = path.partition("/")
    return f"{doors[name]}/{rest}"


def test_who_has_the_login_reaches_pages_and_websockets(doors):
    for name, url in doors.items():
        assert status(url, **login(*LOGIN)) == 200, name
    for path in WEBSOCKETS:
        assert handshake(at(doors, path), **login(*LOGIN)) == 101, path


def test_a_command_uses_the_login_of_prefect_and_mlflow(doors, tmp_path):
    """The variables are Prefect's and MLflow's own."""
    there = Settings(home=tmp_path, prefect=f"{doors['prefect']}/api", mlflow=doors["mlflow"])
    with pytest.raises(EnvironmentMissing, match="PREFECT_API_AUTH_STRING holds none"):
        prefect_url(there)
    code = (
        "import sys, mlflow; from components.settings import Settings\n"
        "from flows.prefect_client import prefect_client; from flows.servers import prefect_url\n"
        "there = Settings.model_validate_json(sys.argv[1])\n"
        "with prefect_client(prefect_url(there)) as client:\n"
        "    print(len(client.read_work_pools(limit=9)))\n"
        "mlflow.set_tracking_uri(there.mlflow); print(len(mlflow.search_experiments()))\n"
    )
    user, password = LOGIN
    known = {
        "PREFECT_API_AUTH_STRING": f"{user}:{password}",
        "MLFLOW_TRACKING_USERNAME": user,
        "MLFLOW_TRACKING_PASSWORD": password,
    }
    command = [sys.executable, "-c", code, there.model_dump_json()]
    done = subprocess.run(command, env=os.environ | known, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "1"]


def test_a_second_up_starts_nothing(servers):
    before = state(servers)
    said: list[str] = []
    assert up(servers, said.append) == running(servers)
    assert state(servers) == before
    assert said == []


def test_a_run_finds_the_servers_without_importing_them(servers):
    code = (
        "import sys; from pathlib import Path; from components.settings import Settings\n"
        "from flows.servers import mlflow_uri, prefect_url, running\n"
        "s = Settings(home=Path(sys.argv[1])); print(prefect_url(s), mlflow_uri(s))\n"
        "assert running(s)\n"
        "assert not {'prefect', 'mlflow', 'streamlit', 'psutil'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(servers.home)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    urls = running(servers)
    assert urls is not None
    assert said.split() == [f"{urls.prefect}/api", urls.mlflow]


def test_up_down_up_keeps_the_data_and_leaves_nothing(idle):
    up(idle)
    token = state(idle)["token"]
    assert {Path(f"/proc/{pid}").exists() for pid in marked(token)} == {True}
    victim = state(idle)["processes"]["mlflow"]["pid"]
    os.killpg(victim, signal.SIGKILL)
    wait_until(lambda: started_at(victim) is None)
    assert running(idle) is None
    assert mlflow_uri(idle).startswith("sqlite:///")
    assert prefect_url(idle) is not None  # that one still lives
    up(idle)
    assert marked(token) == []
    token = state(idle)["token"]
    assert down(idle)
    assert marked(token) == []
    assert [port_holder(port) for port in ports(idle)] == [None, None, None]
    assert running(idle) is None
    assert (idle.home / "prefect" / "prefect.db").stat().st_size > 0
    assert (idle.home / "mlflow" / "mlflow.db").stat().st_size > 0
    assert not down(idle)


def test_a_taken_port_is_named_and_nothing_is_started(idle):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", idle.mlflow_port))
        holder.listen()
        with pytest.raises(EnvironmentMissing) as caught:
            up(idle)
    message = str(caught.value)
    assert str(idle.mlflow_port) in message
    assert "STRATA_MLFLOW_PORT" in message
    assert str(os.getpid()) in message  # who holds it
    assert not (idle.home / "servers.json").exists()
    assert port_holder(idle.prefect_port) is None


def test_a_server_that_does_not_start_takes_the_others_along(idle):
    database = idle.home / "prefect" / "prefect.db"
    database.write_bytes(b"this is not a database" * 100)
    for leftover in database.parent.glob("prefect.db-*"):
        leftover.unlink()
    with pytest.raises(EnvironmentMissing, match=r"prefect server ended with code .*prefect\.log"):
        up(idle)
    assert running(idle) is None
    assert [port_holder(port) for port in ports(idle)] == [None, None, None]


def test_down_ends_what_a_killed_up_left(idle):
    code = (
        "import sys; from components.settings import Settings; from flows.servers import up\n"
        "up(Settings.model_validate_json(sys.argv[1]))\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, idle.model_dump_json()])
    wait_until(lambda: (idle.home / "servers.json").exists() and state(idle)["processes"])
    token = state(idle)["token"]
    starter.kill()
    starter.wait()
    assert marked(token)
    assert down(idle)
    assert marked(token) == []


def test_a_private_server_ends_with_its_killed_parent(idle):
    code = (
        "import sys, time; from components.settings import Settings\n"
        "from flows.servers import private_prefect_server\n"
        "with private_prefect_server(Settings.model_validate_json(sys.argv[1])) as url:\n"
        "    print(url, flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", code, idle.model_dump_json()]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert parent.stdout is not None
    url = parent.stdout.readline().strip()
    assert status(f"{url}/health") == 200
    port = int(url.removesuffix("/api").rpartition(":")[2])
    os.killpg(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_until(lambda: port_holder(port) is None, seconds=5.0)


def test_services_that_are_set_are_used_or_missed(tmp_path):
    port = free_port()
    settings = Settings(
        home=tmp_path, prefect=f"http://127.0.0.1:{port}/api", mlflow="http://mlflow.example"
    )
    assert mlflow_uri(settings) == "http://mlflow.example"
    with pytest.raises(TryAgain, match="STRATA_PREFECT"):
        prefect_url(settings)
    assert prefect_url(Settings(home=tmp_path)) is None
