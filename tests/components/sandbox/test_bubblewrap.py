"""What is bubblewrap's own: namespaces, and limits that the kernel keeps."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.contract import EnvironmentMissing
from components.sandbox.interface import Limits, Sandbox, open_sandbox

LIMITS = Limits(wall_seconds=5.0)


@pytest.fixture(scope="module")
def sandbox(files: Path) -> Iterator[Sandbox]:
    session = open_sandbox("bubblewrap", files, LIMITS)
    yield session
    session.close()


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


def test_fork_bomb_ends(sandbox: Sandbox) -> None:
    done = sandbox.run("bomb() { bomb | bomb & }; bomb; sleep 0.3", cpu_seconds=1.0)
    assert not done.infrastructure
    assert sandbox.run("ls /proc | grep -c '^[0-9]'").stdout.split()[0] in {"3", "4", "5"}


def test_processes_are_limited(sandbox: Sandbox) -> None:
    script = "import os, time\nfor n in range(100):\n  os.fork() or time.sleep(9)\n"
    done = sandbox.run(f'python3 -c "{script}"', cpu_seconds=5.0)
    assert "Resource temporarily unavailable" in done.stderr


def test_scratch_is_bounded_and_emptied(sandbox: Sandbox) -> None:
    limited = sandbox.run("head -c 9000000 /dev/zero > /tmp/one")
    assert "File size limit exceeded" in limited.stderr
    fill = "for i in 1 2 3 4 5 6; do head -c 4000000 /dev/zero > /tmp/f$i; done"
    assert "No space left" in sandbox.run(fill).stderr
    sandbox.reset()
    assert sandbox.run("ls -A /tmp | wc -l").stdout == "0\n"


def test_scratch_that_resists_is_thrown_away_with_its_session(sandbox: Sandbox) -> None:
    script = "import os\nos.chdir('/tmp')\nfor n in range(1500):\n  os.mkdir('d'); os.chdir('d')\n"
    assert sandbox.run(f'python3 -c "{script}"; chmod 000 /tmp/d').code == 0
    sandbox.reset()
    assert sandbox.run("ls -A /tmp").stdout == ""


def test_a_daemon_left_behind_is_gone(sandbox: Sandbox) -> None:
    sandbox.run("setsid -f bash -c 'while sleep 0.05; do date >> /tmp/trace; done'; sleep 0.1")
    assert sandbox.run("pgrep -c sleep; ls /tmp").stdout.split()[0] == "0"
    first = sandbox.run("cat /tmp/trace 2>/dev/null | wc -l").stdout
    time.sleep(0.2)
    assert sandbox.run("cat /tmp/trace 2>/dev/null | wc -l").stdout == first


def test_commands_inherit_nothing(sandbox: Sandbox) -> None:
    assert sandbox.run("echo /proc/self/fd/*").stdout.split()[:3] == [
        f"/proc/self/fd/{number}" for number in range(3)
    ]
    variables = sandbox.run("env").stdout
    assert "STRATA" not in variables
    assert "LC_ALL=C" in variables
    assert sandbox.run("read line; echo $?").stdout == "1\n"


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
