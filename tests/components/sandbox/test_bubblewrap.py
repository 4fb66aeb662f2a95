"""What namespaces do: the kernel holds the bounds, and what lies outside does not exist."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.contract import EnvironmentMissing
from components.sandbox.interface import Limits, Sandbox, open_sandbox


@pytest.fixture(scope="module")
def sandbox(files: Path) -> Iterator[Sandbox]:
    session = open_sandbox("bubblewrap", files, Limits(wall_seconds=5.0))
    yield session
    session.close()


def test_the_files_keep_their_modes(sandbox: Sandbox) -> None:
    assert sandbox.run("chmod 777 901.csv").code == 1


def test_host_files_and_abstract_sockets_are_away(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s", encoding="utf-8")
    assert sandbox.run(f"cat {secret}").code != 0
    assert sandbox.run(f"cat {Path(__file__)}").code != 0
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0strata-test")
        listener.listen()
        connect = "import socket; socket.socket(socket.AF_UNIX).connect('\\0strata-test')"
        assert "Connection refused" in sandbox.run(f'python3 -c "{connect}"').stderr


@pytest.mark.parametrize("family", ["AF_VSOCK", "AF_PACKET", "AF_NETLINK", "AF_ALG"])
def test_sockets_that_ignore_namespaces_are_refused(sandbox: Sandbox, family: str) -> None:
    make = f"import socket; socket.socket(socket.{family}, socket.SOCK_RAW)"
    assert "PermissionError" in sandbox.run(f'python3 -c "{make}"').stderr


def test_processes_are_limited(sandbox: Sandbox) -> None:
    script = "import os, time\nfor n in range(100):\n  os.fork() or time.sleep(9)\n"
    done = sandbox.run(f'python3 -c "{script}"', cpu_seconds=5.0)
    assert "Resource temporarily unavailable" in done.stderr


def test_fork_bomb_ends(sandbox: Sandbox) -> None:
    done = sandbox.run("bomb() { bomb | bomb & }; bomb; sleep 0.3", cpu_seconds=1.0)
    assert not done.infrastructure
    assert sandbox.run("ls /proc | grep -c '^[0-9]'").stdout.split()[0] in {"3", "4", "5"}


def test_without_bubblewrap_nothing_runs(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentMissing, match="apt-get install bubblewrap"):
        open_sandbox("bubblewrap", files)


def test_a_bubblewrap_that_refuses_is_reported(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho no namespaces here >&2\nexit 1\n", encoding="utf-8")
    fake.chmod(0o755)
    tmp_path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentMissing, match=r"no namespaces here|Permission denied"):
        open_sandbox("bubblewrap", files)


def test_scratch_is_bounded_and_emptied(sandbox: Sandbox) -> None:
    limited = sandbox.run("head -c 9000000 /dev/zero > /tmp/one")
    assert "File size limit exceeded" in limited.stderr
    fill = "for i in 1 2 3 4 5 6; do head -c 4000000 /dev/zero > /tmp/f$i; done"
    assert "No space left" in sandbox.run(fill).stderr
    sandbox.reset()
    assert sandbox.run("ls -A /tmp | wc -l").stdout == "0\n"
