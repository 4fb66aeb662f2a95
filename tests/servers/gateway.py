"""The gateway of docker-compose.yml, with its own configuration, before servers on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.servers.s3_server import DIES_WITH_US, free_port, wait_for_port

CONFIGURATION = Path(__file__).parents[2] / "infra/compose/gateway.conf"
BEHIND = {"prefect": 4200, "mlflow": 5000, "dashboard": 8501}
"""Servers behind the gateway, with their ports in the network of the containers."""
LOGIN = ("strata", "password-of-the-tests")


@contextmanager
def gateway(directory: Path, servers: Mapping[str, int]) -> Generator[dict[str, str]]:
    """Run nginx in front of `servers` (name to loopback port); yield its addresses by name.

    Of the configuration only places change: directory, ports, and the names of the servers.
    """
    text = CONFIGURATION.read_text().replace("/tmp/", f"{directory}/")
    ports = {name: free_port() for name in BEHIND}
    for name, port in BEHIND.items():
        there = f"{ports[name]} http://127.0.0.1:{servers[name]};"
        text = text.replace(f"{port} http://{name}:{port};", there)
        text = text.replace(f"listen {port}", f"listen 127.0.0.1:{ports[name]}")
    (directory / "gateway.conf").write_text(text)
    users = directory / "users"
    users.write_text(f"{LOGIN[0]}:{{PLAIN}}{LOGIN[1]}")
    users.chmod(0o600)
    # Root's nginx would let somebody else work for it, who may not read the users.
    mine = ["-g", "user root;"] if os.geteuid() == 0 else []
    program = [_nginx(), "-e", "stderr", *mine, "-c", str(directory / "gateway.conf")]
    process = subprocess.Popen([*DIES_WITH_US, *program])
    try:
        for port in ports.values():
            wait_for_port(port, process)
        yield {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    finally:
        process.terminate()
        process.wait()


def _nginx() -> str:
    """Return the nginx that is installed, or the one that `infra/setup.sh` unpacked."""
    unpacked = Path(sys.prefix) / "nginx/usr/sbin"
    found = shutil.which("nginx", path=os.pathsep.join((os.environ["PATH"], str(unpacked))))
    assert found, "nginx is missing: `make test` sets it up"
    return found
