"""What is Landlock's own: a machine shared with the host, and limits that are counted."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.sandbox import landlock
from components.sandbox.interface import Limits, Sandbox, open_sandbox
from components.sandbox.session import NOBODY
from tests.processes import wait_until

LIMITS = Limits(wall_seconds=5.0)


@pytest.fixture(scope="module")
def sandbox(files: Path) -> Iterator[Sandbox]:
    session = open_sandbox("landlock", files, LIMITS)
    yield session
    session.close()


@pytest.fixture
def neighbour() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process of the user that commands run as."""
    user = NOBODY if os.geteuid() == 0 else None
    process = subprocess.Popen(["sleep", "60"], user=user, env={"SECRET": "of the neighbour"})
    yield process
    process.kill()
    process.wait()


def descendants(process: int) -> list[int]:
    """Return every process under one."""
    found = [process]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found[1:]


def python(script: str) -> str:
    return f"python3 -c '{script}'"


REFUSED = {
    "its variables": "cat /proc/{pid}/environ",
    "its status": "cat /proc/{pid}/status",
    "a signal": "kill -9 {pid}",
    "a null signal": "kill -0 {pid}",
    "its limits": "prlimit --pid {pid} --nofile=1",
    "its priority": "renice 19 {pid}",
    "its processors": "taskset -p 1 {pid}",
    "the list of processes": "ls /proc",
    "a file of its user": "chmod 777 {home}",
    "another time of it": "touch {home}",
    "a link to it": "ln {home}/note $TMPDIR/note",
    "a socket": python("import socket; socket.socket(socket.AF_UNIX)"),
    "a datagram": python("import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"),
    "a namespace of users": "unshare --user true",
    "a look at what changes": "inotifywait {home} || exit 1",
    "a device": "cat /dev/kmsg",
}


@pytest.mark.parametrize("command", REFUSED.values(), ids=REFUSED.keys())
def test_a_process_of_the_same_user_is_out_of_reach(
    sandbox: Sandbox, neighbour: subprocess.Popen[bytes], temporary: Path, command: str
) -> None:
    home = temporary / "home"
    home.mkdir()
    (home / "note").write_text("private")
    if os.geteuid() == 0:
        for path in (home, home / "note"):
            os.chown(path, NOBODY, NOBODY)
    done = sandbox.run(command.replace("{pid}", str(neighbour.pid)).replace("{home}", str(home)))
    assert done.code not in {0, 126}
    assert not done.infrastructure
    assert neighbour.poll() is None
    assert oct(home.stat().st_mode)[-3:] == "755"


def test_killing_everything_spares_the_neighbour(
    sandbox: Sandbox, neighbour: subprocess.Popen[bytes]
) -> None:
    assert sandbox.run("sleep 50 & kill -9 -1; echo survived").stdout == "survived\n"
    assert sandbox.run("echo next").stdout == "next\n"
    assert neighbour.poll() is None


def test_a_fork_bomb_is_ended_and_leaves_nothing(sandbox: Sandbox) -> None:
    done = sandbox.run("bomb() { bomb | bomb & }; bomb; sleep 3", cpu_seconds=10.0)
    assert (done.code, done.infrastructure) == (128 + signal.SIGKILL, False)
    assert descendants(sandbox._process.pid) == []


def test_too_many_processes_end_the_command(sandbox: Sandbox) -> None:
    many = "import os, time\nfor n in range(100):\n  os.fork() or time.sleep(9)\ntime.sleep(3)\n"
    done = sandbox.run(f'python3 -c "{many}"', cpu_seconds=5.0)
    assert (done.code, done.infrastructure) == (128 + signal.SIGKILL, False)


def test_a_daemon_left_behind_is_gone(sandbox: Sandbox) -> None:
    sandbox.run("setsid -f bash -c 'while sleep 0.05; do date >> $TMPDIR/trace; done'; sleep 0.1")
    assert descendants(sandbox._process.pid) == []
    assert sandbox.run("cat $TMPDIR/trace | wc -l").stdout != "0\n"


FILL = {
    "large files": "for i in $(seq 9); do head -c 4000000 /dev/zero > $TMPDIR/f$i; done",
    "many files": "for i in $(seq 9000); do : > $TMPDIR/f$i; done",
    "what cannot be looked into": python(
        'import os; os.chdir(os.environ["TMPDIR"]); os.mkdir("d", 0)'
    ),
    "too deep to be looked into": python(
        'import os; os.chdir(os.environ["TMPDIR"]); '
        '[(os.mkdir("d" * 99), os.chdir("d" * 99)) for n in range(60)]'
    ),
}


@pytest.mark.parametrize("command", FILL.values(), ids=FILL.keys())
def test_a_scratch_that_fills_ends_the_command_and_is_emptied(
    sandbox: Sandbox, command: str
) -> None:
    done = sandbox.run(command, cpu_seconds=20.0)
    assert (done.code, done.infrastructure) == (128 + signal.SIGKILL, False), done
    sandbox.reset()
    assert sandbox.run("ls -A $TMPDIR").stdout == ""


def test_sessions_do_not_see_each_other(files: Path, sandbox: Sandbox) -> None:
    with_secret = open_sandbox("landlock", files, LIMITS)
    try:
        place = with_secret.run("echo secret > $TMPDIR/note; echo $TMPDIR").stdout.strip()
        assert sandbox.run(f"cat {place}/note").code != 0
        sandbox.run("kill -9 -1")
        assert with_secret.run("cat $TMPDIR/note").stdout == "secret\n"
    finally:
        with_secret.close()


OWNER = """
import sys
from pathlib import Path
from components.sandbox import landlock
from components.sandbox.interface import Limits, open_sandbox
sandbox = open_sandbox("landlock", Path(sys.argv[1]), Limits())
print(sandbox._process.pid, flush=True)
sandbox.run("setsid -f sleep 60; sleep 60")
"""


def test_nothing_outlives_a_killed_owner(files: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(files)], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    driver = int(owner.stdout.readline())
    wait_until(lambda: len(descendants(driver)) >= 2, 10)
    started = [driver, *descendants(driver)]
    owner.kill()
    owner.communicate()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started), 10)


def test_it_opens_where_a_restricted_pod_would(
    files: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an ordinary user without capabilities, who cannot gain any."""
    for name, path in {
        "DRIVER": landlock.DRIVER,
        "_LANDLOCK_DRIVER": landlock._LANDLOCK_DRIVER,
    }.items():
        monkeypatch.setattr(landlock, name, Path(shutil.copy(path, temporary)))
    given = shutil.copytree(files, temporary / "files")
    given.chmod(0o755)
    root = os.geteuid() == 0
    if root:
        os.chown(temporary, NOBODY, NOBODY)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if root:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            assert ctypes.CDLL(None).prctl(38, 1, 0, 0, 0) == 0
            session = open_sandbox("landlock", given, LIMITS)
            code = 0 if session.run("cat 901.csv").stdout == "a b\nc\n" else 2
            session.close()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert list(temporary.glob("strata*")) == []


HONEST = (
    "wc -c 901.csv; cat 901.csv | sort -r | head -1",
    "awk '{ n += NF } END { print n }' 901.csv",
    "python3 -c 'print(sum(range(10)))'",
    "python3 -c 'open(\"absent\")'",
    "echo 1 > $TMPDIR/x && cp $TMPDIR/x $TMPDIR/y && cat $TMPDIR/y; ls $TMPDIR",
    "for w in $(cat 901.csv); do echo $w; done | tr a-z A-Z",
    "grep z 901.csv",
    "no-such-command",
    "diff <(sort 901.csv) <(sort -r 901.csv)",
    "exit 7",
)


@pytest.mark.parametrize("command", HONEST)
def test_honest_commands_end_alike_in_every_tier(
    files: Path, sandbox: Sandbox, command: str
) -> None:
    other = open_sandbox("bubblewrap", files, LIMITS)
    try:
        assert sandbox.run(command) == other.run(command)
    finally:
        other.close()
        sandbox.reset()


def test_speed_of_a_pooled_session(sandbox: Sandbox) -> None:
    began = time.monotonic()
    for _ in range(50):
        sandbox.run("wc -c 901.csv")
    assert (time.monotonic() - began) / 50 < 0.05
