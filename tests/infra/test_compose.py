"""The compose file as docker-compose reads it: closed by default, watched, no password in it, and
an environment that our settings know.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from functools import cache
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from components.settings import settings
from tests.servers.gateway import BEHIND, CONFIGURATION

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
NAMES = sorted(yaml.safe_load(TEXT)["services"])
SERVERS = sorted(set(NAMES) - {"buckets"})
OF_OTHERS = {"postgres", "s3"}
SECRETS = {
    "POSTGRES_PASSWORD": "pass-p",
    "S3_ACCESS_KEY": "key-a",
    "S3_SECRET_KEY": "key-s",
    "GATEWAY_PASSWORD": "pass-g",
}


def configured(**variables: str) -> subprocess.CompletedProcess[str]:
    """Let docker-compose read the file with these variables and no `.env`."""
    with tempfile.NamedTemporaryFile() as empty:
        return subprocess.run(
            ["docker-compose", "--env-file", empty.name, "config"],
            env={"PATH": os.environ["PATH"], "HOME": os.devnull, **variables},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )


@cache
def services() -> dict[str, dict[str, Any]]:
    done = configured(**SECRETS)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)["services"]


def test_the_servers_are_there():
    own = ["buckets", "dashboard", "gateway", "mlflow", "prefect", "worker"]
    assert sorted([*own, *OF_OTHERS]) == NAMES


@pytest.mark.parametrize("missing", SECRETS)
def test_nothing_starts_without_a_secret(missing):
    done = configured(**{name: value for name, value in SECRETS.items() if name != missing})
    assert done.returncode != 0
    assert missing in done.stderr


def test_no_password_is_written_down_or_has_a_default():
    for name in SECRETS:
        used = re.findall(r"\$\{" + name + r"[^}]*\}", TEXT)
        assert used
        assert all(text.startswith("${" + name + ":?") for text in used)
    for user, password in re.findall(r"://(\w+):([^@\s]*)@", TEXT):
        assert user == "strata"
        assert password == "${POSTGRES_PASSWORD:?}"


def test_variables_of_the_file_do_not_collide_with_ours():
    """An unknown `STRATA_` variable in the shell would be refused by the command line."""
    assert not [name for name in re.findall(r"\$\{(\w+)", TEXT) if name.startswith("STRATA_")]


@pytest.mark.parametrize("name", NAMES)
def test_ports_are_published_on_the_loopback_address_only(name):
    service = services()[name]
    ports = [str(port) for port in service.get("ports", [])]
    assert all(re.match(r"127\.0\.0\.1:\d+:\d+(/tcp)?$", port) for port in ports), ports
    assert bool(ports) == (name in {"gateway", *OF_OTHERS}), "only what asks for a password"
    assert not {"network_mode", "privileged", "pid", "ipc", "devices", "cap_add"} & set(service)


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_watched_and_restarted(name):
    assert services()[name]["healthcheck"]["test"][0] == "CMD"
    assert services()[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", NAMES)
def test_a_container_gains_no_right_and_its_image_is_pinned(name):
    service = services()[name]
    assert "no-new-privileges:true" in service["security_opt"]
    if name != "postgres":  # its image starts as root to own its directory, then steps down
        assert service["cap_drop"] == ["ALL"]
    assert re.search(r":\d+\.\d+[\w.-]*$", service["image"])
    opened = any("unconfined" in option for option in service["security_opt"])
    assert opened == (name == "worker")  # it opens sandboxes


def test_each_waits_for_what_it_needs():
    waits = {
        n: {k: v["condition"] for k, v in s.get("depends_on", {}).items()}
        for n, s in services().items()
    }
    healthy, done = "service_healthy", "service_completed_successfully"
    assert waits == {
        "postgres": {},
        "s3": {},
        "buckets": {"s3": healthy},
        "prefect": {"postgres": healthy},
        "mlflow": {"postgres": healthy, "buckets": done},
        "dashboard": {"postgres": healthy, "buckets": done},
        "gateway": {"prefect": healthy, "mlflow": healthy, "dashboard": healthy},
        "worker": {"postgres": healthy, "prefect": healthy, "mlflow": healthy, "buckets": done},
    }


@pytest.mark.parametrize("name", ["dashboard", "worker"])
def test_settings_are_known_and_parse(name):
    read = settings(services()[name]["environment"])
    assert read.store == "s3://strata/store"
    assert read.s3_endpoint == "http://s3:9000"
    assert read.catalog_url == "postgresql+psycopg://strata:pass-p@postgres:5432/strata"
    assert read.prefect == "http://prefect:4200/api"
    assert read.mlflow == "http://mlflow:5000"
    assert read.launcher == "local_process"


def test_the_names_in_addresses_are_services_and_buckets_that_are_made():
    hosts = set(re.findall(r"(?:http|asyncpg|psycopg)://(?:[^@\s]*@)?([a-z0-9]+):\d+", TEXT))
    assert hosts == {"postgres", "s3", "prefect", "mlflow"}
    used = set(re.findall(r"s3://([\w-]+)", TEXT))
    assert used == set(services()["buckets"]["command"][3:])


def test_the_gateway_leads_to_the_servers_by_their_names_and_ports():
    text = CONFIGURATION.read_text()
    assert set(re.findall(r"http://(\w+):(\d+);", text)) == {(n, str(p)) for n, p in BEHIND.items()}
    published = {port.split(":")[-1].split("/")[0] for port in services()["gateway"]["ports"]}
    assert published == {str(port) for port in BEHIND.values()}
    for name, port in BEHIND.items():
        assert any(f":{port}/" in part for part in services()[name]["healthcheck"]["test"])


def test_data_outlive_the_containers():
    kept = {n: [v.partition(":")[0] for v in s.get("volumes", [])] for n, s in services().items()}
    named = set(yaml.safe_load(TEXT)["volumes"])
    assert named == {"postgres", "s3", "worker"}
    assert all(name in kept[name] for name in named)


def test_files_that_are_mounted_or_built_exist():
    for name, service in services().items():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert Path(source).exists() or not source.startswith("/"), source
        assert ("build" in service) == (name not in OF_OTHERS)
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file()


def test_every_server_has_a_database():
    made = set(
        re.findall(r"CREATE DATABASE (\w+)", (ROOT / "infra/compose/databases.sql").read_text())
    )
    made.add(services()["postgres"]["environment"]["POSTGRES_DB"])
    assert made == set(re.findall(r"@postgres:5432/(\w+)", TEXT))


def healthy(*arguments: str) -> bool:
    command = [sys.executable, str(ROOT / "infra/images/healthy.py"), *arguments]
    return subprocess.run(command, capture_output=True).returncode == 0


def test_the_health_check_wants_one_status():
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert healthy(f"{url}/")
        assert not healthy(f"{url}/", "401")
        assert healthy(f"{url}/nothing", "404")
        assert not healthy(f"{url}/nothing")
        server.shutdown()
    assert not healthy("http://127.0.0.1:9/")


@pytest.fixture
def stack(tmp_path):
    """Copy the script into a directory of its own; return a function that calls it."""
    script = tmp_path / "infra/compose/stack.sh"
    script.parent.mkdir(parents=True)
    shutil.copy(ROOT / "infra/compose/stack.sh", script)

    def call(verb: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(script), verb], capture_output=True, text=True)

    return call


def test_secrets_are_random_private_and_never_overwritten(stack, tmp_path):
    secrets = tmp_path / ".env"
    assert stack("secrets").returncode == 0
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    first = secrets.read_text()
    values = dict(line.split("=") for line in first.splitlines())
    assert set(values) == set(SECRETS)
    assert all(re.fullmatch(r"[0-9a-f]{20,}", value) for value in values.values())
    assert stack("secrets").returncode == 0
    assert secrets.read_text() == first
    secrets.unlink()
    assert stack("secrets").returncode == 0
    again = dict(line.split("=") for line in secrets.read_text().splitlines())
    assert not set(again.values()) & set(values.values())
    assert configured(**again).returncode == 0


def test_secrets_that_others_can_read_or_that_lack_one_are_refused(stack, tmp_path):
    secrets = tmp_path / ".env"
    secrets.write_text("POSTGRES_PASSWORD=pass\n")
    secrets.chmod(0o644)
    done = stack("secrets")
    assert (done.returncode, "chmod 600 .env" in done.stderr) == (3, True)
    secrets.chmod(0o600)
    done = stack("secrets")
    assert (done.returncode, "S3_ACCESS_KEY" in done.stderr) == (3, True)
    assert secrets.read_text() == "POSTGRES_PASSWORD=pass\n"
