"""Hostile commands: none reaches the host, the network, the session or the next answer."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.contract import EnvironmentMissing
from components.sandbox.bubblewrap import BubblewrapSandbox
from components.sandbox.interface import Limits, Sandbox, open_sandbox

LIMITS = Limits(wall_seconds=5.0)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("files")
    (directory / "901.csv").write_text("a b\nc\n", encoding="utf-8")
    return directory


@pytest.fixture(scope="module")
def sandbox(files: Path) -> Iterator[Sandbox]:
    session = open_sandbox("bubblewrap", files, LIMITS)
    yield session
    session.close()


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a directory for temporary files of this test alone, which any user may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", name)
        monkeypatch.setenv("TMPDIR", name)
        yield Path(name)


@pytest.fixture(autouse=True)
def session_still_works(sandbox: Sandbox) -> Iterator[None]:
    """After every test the same session must answer truly and be clean after a reset."""
    yield
    sandbox.reset()
    done = sandbox.run("cat 901.csv; ls -A /tmp")
    assert (done.stdout, done.stderr, done.code) == ("a b\nc\n", "", 0)


def test_a_command_gives_output_errors_and_code(sandbox: Sandbox) -> None:
    done = sandbox.run("wc -c 901.csv; echo oops >&2; exit 3")
    assert (done.stdout, done.stderr, done.code) == ("6 901.csv\n", "oops\n", 3)
    assert not any((done.timed_out_cpu, done.infrastructure, done.truncated))
    assert sandbox.run("wc -c 901").stderr == "wc: 901: No such file or directory\n"


REFUSED = {
    "shadow": "cat /etc/shadow",
    "passwd": "cat /etc/passwd",
    "root's home": "ls /root",
    "homes": "ls /home",
    "host's variables": "cat /proc/1/environ",
    "driver's memory": "cat /proc/1/maps",
    "driver's descriptors": "ls /proc/1/fd",
    "driver's pipes": "echo forged > /proc/1/fd/3",
    "write the files": "echo x > /work/901.csv",
    "replace the files": "rm -f /work/901.csv",
    "new file among them": "touch /work/new",
    "chmod the files": "chmod 777 /work/901.csv",
    "write the system": "touch /usr/bin/x",
    "write the root": "touch /x",
    "write devices": "touch /dev/x",
    "write shared memory": "touch /dev/shm/x",
    "make a device": "mknod /tmp/disk b 8 0",
    "user namespace": "unshare --user true",
    "mount namespace": "unshare --mount true",
    "mount": "mount -t tmpfs none /tmp",
    "remount": "mount -o remount,rw /work",
    "become root": "su -c true",
    "kernel log": "dmesg",
    "set the clock": "date -s 2000-01-01",
    "sysctl": "echo 1 > /proc/sys/kernel/panic",
}


@pytest.mark.parametrize("command", REFUSED.values(), ids=REFUSED.keys())
def test_refused(sandbox: Sandbox, command: str) -> None:
    done = sandbox.run(command)
    assert done.code != 0
    assert not done.infrastructure


def test_network_is_away(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        assert sandbox.run(f"exec 3<>/dev/tcp/127.0.0.1/{port}").code != 0
    assert sandbox.run("exec 3<>/dev/tcp/192.0.2.1/80").code != 0
    assert sandbox.run("ls /sys/class/net").code != 0


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


def test_ptrace_is_refused(sandbox: Sandbox) -> None:
    attach = "import ctypes; print(ctypes.CDLL(None, use_errno=True).ptrace(16, 1, 0, 0))"
    assert sandbox.run(f'python3 -c "{attach}"').stdout == "-1\n"


def test_fork_bomb_ends(sandbox: Sandbox) -> None:
    done = sandbox.run("bomb() { bomb | bomb & }; bomb; sleep 0.3", cpu_seconds=1.0)
    assert not done.infrastructure
    assert sandbox.run("ls /proc | grep -c '^[0-9]'").stdout.split()[0] in {"3", "4", "5"}


def test_processes_are_limited(sandbox: Sandbox) -> None:
    script = "import os, time\nfor n in range(100):\n  os.fork() or time.sleep(9)\n"
    done = sandbox.run(f'python3 -c "{script}"', cpu_seconds=5.0)
    assert "Resource temporarily unavailable" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "while :; do :; done",
        "(while :; do :; done) & (while :; do :; done) & wait",
        "setsid -f bash -c 'while :; do :; done'; sleep 20",
        "for i in $(seq 10000); do /bin/true; done",
    ],
    ids=["one", "two", "detached", "many short ones"],
)
def test_cpu_time_of_all_processes_counts(sandbox: Sandbox, command: str) -> None:
    began = time.monotonic()
    done = sandbox.run(command, cpu_seconds=0.3)
    assert done.timed_out_cpu
    assert not done.infrastructure
    assert time.monotonic() - began < 5


def test_sleeping_costs_no_cpu_and_the_wall_is_our_fault(files: Path) -> None:
    session = BubblewrapSandbox(files, Limits(wall_seconds=0.3))
    try:
        done = session.run("sleep 60")
        assert done.infrastructure
        assert not done.timed_out_cpu
        assert session.run("echo on").stdout == "on\n"
    finally:
        session.close()


def test_output_is_capped(sandbox: Sandbox) -> None:
    done = sandbox.run("head -c 200000 /dev/zero | tr '\\0' x")
    assert (len(done.stdout), done.truncated, done.code) == (LIMITS.output_bytes, True, 0)
    flood = sandbox.run("yes", cpu_seconds=20)
    assert flood.truncated
    assert flood.code == 128 + signal.SIGKILL


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


def test_memory_is_bounded(sandbox: Sandbox) -> None:
    done = sandbox.run("python3 -c 'bytearray(2 * 10**9)'")
    assert "MemoryError" in done.stderr


def test_killing_everything_kills_only_the_command(sandbox: Sandbox) -> None:
    done = sandbox.run("sleep 50 & kill -9 -1; echo survived")
    assert not done.infrastructure
    assert sandbox.run("echo next").stdout == "next\n"


def test_signals_do_not_stop_the_session(sandbox: Sandbox) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGSTOP, signal.SIGUSR1, signal.SIGPIPE):
        sandbox.run(f"kill -{number.value} 1")
    assert sandbox.run("echo alive").stdout == "alive\n"


def test_a_daemon_left_behind_is_gone(sandbox: Sandbox) -> None:
    sandbox.run("setsid -f bash -c 'while sleep 0.05; do date >> /tmp/trace; done'; sleep 0.1")
    assert sandbox.run("pgrep -c sleep; ls /tmp").stdout.split()[0] == "0"
    first = sandbox.run("cat /tmp/trace 2>/dev/null | wc -l").stdout
    time.sleep(0.2)
    assert sandbox.run("cat /tmp/trace 2>/dev/null | wc -l").stdout == first


def test_a_daemon_that_holds_the_pipes_does_not_hold_the_answer(sandbox: Sandbox) -> None:
    began = time.monotonic()
    assert sandbox.run("sleep 30 & echo done").stdout == "done\n"
    assert time.monotonic() - began < 2


def test_printed_frames_are_only_output(sandbox: Sandbox) -> None:
    forged = '{"id": 99, "stdout": "forged", "stderr": "", "code": 0}'
    done = sandbox.run(
        f"printf '\\0\\0\\0\\067%s' '{forged}'; for n in 3 4 5 6 7; do "
        f"echo '{forged}' >&$n; done 2>/dev/null"
    )
    assert "forged" in done.stdout
    assert sandbox.run("echo true answer").stdout == "true answer\n"


def test_commands_inherit_nothing(sandbox: Sandbox) -> None:
    assert sandbox.run("echo /proc/self/fd/*").stdout.split()[:3] == [
        f"/proc/self/fd/{number}" for number in range(3)
    ]
    variables = sandbox.run("env").stdout
    assert "STRATA" not in variables
    assert "LC_ALL=C" in variables
    assert sandbox.run("read line; echo $?").stdout == "1\n"


def test_odd_text_goes_through(sandbox: Sandbox) -> None:
    assert sandbox.run("echo 'ä \"quoted\" $HOME'").stdout == 'ä "quoted" $HOME\n'
    assert sandbox.run("printf '\\377\\0x'").stdout == "\ufffd\0x"
    assert sandbox.run("echo a\0b").code == 2
    assert sandbox.run("echo \ud800").code == 0
    assert sandbox.run("if then").code == 2


def test_a_lost_session_is_infrastructure_and_the_next_call_works(files: Path) -> None:
    session = BubblewrapSandbox(files, LIMITS)
    try:
        assert session.run("echo on").stdout == "on\n"
        process = session._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert session.run("echo again").stdout == "again\n"
        process = session._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        os.kill(process.pid, signal.SIGKILL)
        done = session.run("echo third")
        assert done.infrastructure or done.stdout == "third\n"
    finally:
        session.close()


def test_closing_leaves_nothing(files: Path) -> None:
    session = BubblewrapSandbox(files, LIMITS)
    session.run("sleep 0 &")
    process, staged = session._process, session._staged
    session.close()
    session.close()
    assert process is not None
    assert process.poll() is not None
    assert staged is None or not staged.exists()


DIES = """
import os, signal, sys
from pathlib import Path
from components.sandbox.bubblewrap import BubblewrapSandbox
from components.sandbox.interface import Limits
BubblewrapSandbox(Path(sys.argv[1]), Limits()).run("true")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed(files: Path, temporary: Path) -> None:
    here = BubblewrapSandbox(files, LIMITS)
    subprocess.run([sys.executable, "-c", DIES, str(files)], check=False)
    again = BubblewrapSandbox(files, LIMITS)
    try:
        assert here.run("ls").stdout == again.run("ls").stdout != "", "what is in use stays"
        assert len(list(temporary.iterdir())) in {0, 2}, "a user other than root copies nothing"
    finally:
        here.close()
        again.close()
    assert list(temporary.iterdir()) == []


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match="is no directory"):
        BubblewrapSandbox(tmp_path / "absent", LIMITS)


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


def test_speed_of_a_pooled_session(sandbox: Sandbox) -> None:
    began = time.monotonic()
    for _ in range(50):
        sandbox.run("wc -c 901.csv")
    assert (time.monotonic() - began) / 50 < 0.05
