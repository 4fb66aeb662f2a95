"""The compose file: closed by default, no password in it, and every file it names is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]


def test_the_four_servers_are_there():
    assert set(SERVICES) == {"postgres", "prefect", "mlflow", "dashboard"}


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_the_loopback_address_only(name):
    assert SERVICES[name]["ports"]
    assert all(
        re.match(r"127\.0\.0\.1:\$\{[A-Z_]+:-\d+\}:\d+$", p) for p in SERVICES[name]["ports"]
    )
    assert "network_mode" not in SERVICES[name]
    assert not SERVICES[name].get("privileged")


@pytest.mark.parametrize("name", SERVICES)
def test_a_server_is_watched_and_its_image_pinned(name):
    service = SERVICES[name]
    assert service["healthcheck"]["test"]
    tag = service["image"].partition(":")[2]
    assert tag
    assert tag != "latest"
    assert "no-new-privileges:true" in service["security_opt"]
    if name != "postgres":
        assert service["depends_on"] == {"postgres": {"condition": "service_healthy"}}
        assert service["cap_drop"] == ["ALL"]


def test_no_password_is_written_down_or_has_a_default():
    used = re.findall(r"\$\{POSTGRES_PASSWORD[^}]*\}", TEXT)
    assert len(used) == 4
    assert all(text.startswith("${POSTGRES_PASSWORD:?") for text in used)
    for user, password in re.findall(r"://(\w+):([^@\s]*)@", TEXT):
        assert user == "strata"
        assert password == "${POSTGRES_PASSWORD:?}"


def test_variables_of_the_file_do_not_collide_with_ours():
    """An unknown `STRATA_` variable in the shell would be refused by the command line."""
    assert not [name for name in re.findall(r"\$\{(\w+)", TEXT) if name.startswith("STRATA_")]


def test_settings_of_the_dashboard_are_known():
    from components.settings import settings

    environment = {k: str(v) for k, v in SERVICES["dashboard"]["environment"].items()}
    read = settings(environment)
    assert read.store_uri == "/store"
    assert read.catalog_url.startswith("postgresql+psycopg://")


def test_files_that_are_mounted_or_built_exist():
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("./") and "$" not in source:
                assert (ROOT / source).is_file(), source
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file()
    dockerfile = (ROOT / "infra/compose/Dockerfile").read_text()
    for copied in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE):
        assert all((ROOT / name).exists() for name in copied.split()), copied
    assert "\nUSER strata" in dockerfile


def test_every_server_has_a_database():
    made = set(
        re.findall(r"CREATE DATABASE (\w+)", (ROOT / "infra/compose/databases.sql").read_text())
    )
    made.add(SERVICES["postgres"]["environment"]["POSTGRES_DB"])
    assert made == set(re.findall(r"@postgres:5432/(\w+)", TEXT))


def test_the_health_check_says_no_where_nothing_listens():
    command = [sys.executable, str(ROOT / "infra/compose/healthy.py"), "http://127.0.0.1:9/"]
    assert subprocess.run(command, capture_output=True).returncode != 0
