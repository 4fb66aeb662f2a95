"""Hostile commands: none reaches the host, the network, the session or the next answer, in either
tier.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.contract import EnvironmentMissing
from components.sandbox.bubblewrap import BubblewrapSandbox
from components.sandbox.interface import Limits, Sandbox, Tier, open_sandbox
from components.sandbox.landlock import LandlockSandbox

LIMITS = Limits(wall_seconds=5.0)
Opener = type[BubblewrapSandbox] | type[LandlockSandbox]
TIERS: dict[Tier, Opener] = {"bubblewrap": BubblewrapSandbox, "landlock": LandlockSandbox}


@pytest.fixture(scope="module", params=TIERS)
def tier(request: pytest.FixtureRequest) -> Tier:
    return request.param


@pytest.fixture(scope="module")
def sandbox(tier: Tier, files: Path) -> Iterator[Sandbox]:
    session = open_sandbox(tier, files, LIMITS)
    yield session
    session.close()


@pytest.fixture
def opener(tier: Tier) -> Opener:
    return TIERS[tier]


@pytest.fixture(autouse=True)
def session_still_works(sandbox: Sandbox) -> Iterator[None]:
    """After every test the same session must answer truly and be clean after a reset."""
    yield
    sandbox.reset()
    done = sandbox.run("cat 901.csv; ls -A $HOME")
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
    "host's variables": "cat /proc/$PPID/environ",
    "own variables of the driver": "cat /proc/$PPID/task/$PPID/environ",
    "driver's memory": "cat /proc/$PPID/maps",
    "driver's descriptors": "ls /proc/$PPID/fd",
    "driver's pipes": "echo forged > /proc/$PPID/fd/3",
    "write the files": "echo x > 901.csv",
    "replace the files": "rm -f 901.csv",
    "new file among them": "touch new",
    "name the files anew": "mv 901.csv $HOME",
    "link the files": "ln 901.csv $HOME",
    "write the system": "touch /usr/bin/x",
    "write the root": "touch /x",
    "write devices": "touch /dev/x",
    "write shared memory": "touch /dev/shm/x",
    "make a device": "mknod $HOME/disk b 8 0",
    "user namespace": "unshare --user true",
    "mount namespace": "unshare --mount true",
    "mount": "mount -t tmpfs none $HOME",
    "remount": "mount -o remount,rw $PWD",
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


def test_ptrace_is_refused(sandbox: Sandbox) -> None:
    attach = "import ctypes; print(ctypes.CDLL(None, use_errno=True).ptrace(16, 1, 0, 0))"
    assert sandbox.run(f'python3 -c "{attach}"').stdout == "-1\n"


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


def test_sleeping_costs_no_cpu_and_the_wall_is_our_fault(opener: Opener, files: Path) -> None:
    session = opener(files, Limits(wall_seconds=0.3))
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


def test_scratch_that_resists_is_thrown_away_with_its_session(sandbox: Sandbox) -> None:
    script = "import os\nfor n in range(1500):\n  os.mkdir('d'); os.chdir('d')\n"
    assert sandbox.run(f'cd; python3 -c "{script}"; chmod 000 $HOME/d').code in {0, 137}
    sandbox.reset()
    assert sandbox.run("ls -A $HOME").stdout == ""


def test_scratch_is_emptied(sandbox: Sandbox) -> None:
    limited = sandbox.run("head -c 9000000 /dev/zero > $HOME/one")
    assert "File size limit exceeded" in limited.stderr
    sandbox.run("mkdir -p $HOME/a/b; ln -s /usr $HOME/a/usr; touch $HOME/a/b/c")
    sandbox.reset()
    assert sandbox.run("ls -A $HOME | wc -l").stdout == "0\n"
    assert sandbox.run("ls /usr/bin/env").code == 0


def test_memory_is_bounded(sandbox: Sandbox) -> None:
    done = sandbox.run("python3 -c 'bytearray(2 * 10**9)'")
    assert "MemoryError" in done.stderr


def test_killing_everything_kills_only_the_command(sandbox: Sandbox) -> None:
    done = sandbox.run("sleep 50 & kill -9 -1; echo survived")
    assert not done.infrastructure
    assert sandbox.run("echo next").stdout == "next\n"


def test_signals_do_not_stop_the_session(sandbox: Sandbox) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGSTOP, signal.SIGUSR1, signal.SIGPIPE):
        sandbox.run(f"kill -{number.value} $PPID")
    assert sandbox.run("echo alive").stdout == "alive\n"


def test_a_daemon_left_behind_is_gone(sandbox: Sandbox) -> None:
    sandbox.run("setsid -f bash -c 'while sleep 0.05; do date >> $HOME/trace; done'; sleep 0.1")
    first = sandbox.run("cat $HOME/trace 2>/dev/null | wc -l").stdout
    time.sleep(0.2)
    assert sandbox.run("cat $HOME/trace 2>/dev/null | wc -l").stdout == first


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
    look = "import os; print([n for n in range(300) if os.path.exists(f'/dev/fd/{n}')])"
    assert sandbox.run(f'python3 -c "{look}"').stdout == "[0, 1, 2]\n"
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


def test_a_lost_session_is_infrastructure_and_the_next_call_works(
    opener: Opener, files: Path
) -> None:
    session = opener(files, LIMITS)
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


def test_closing_leaves_nothing(opener: Opener, files: Path) -> None:
    session = opener(files, LIMITS)
    session.run("sleep 0 &")
    process, staged = session._process, session._staged
    session.close()
    session.close()
    assert process is not None
    assert process.poll() is not None
    assert staged is None or not staged.path.exists()


DIES = """
import os, signal, sys
from pathlib import Path
from components.sandbox.bubblewrap import BubblewrapSandbox
from components.sandbox.interface import Limits
from components.sandbox.landlock import LandlockSandbox
opener = {each.tier: each for each in (BubblewrapSandbox, LandlockSandbox)}[sys.argv[1]]
opener(Path(sys.argv[2]), Limits()).run("true")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed(
    opener: Opener, files: Path, temporary: Path
) -> None:
    here = opener(files, LIMITS)
    subprocess.run([sys.executable, "-c", DIES, opener.tier, str(files)], check=False)
    again = opener(files, LIMITS)
    try:
        assert here.run("ls").stdout == again.run("ls").stdout != "", "what is in use stays"
        assert len(list(temporary.iterdir())) in {0, 2}, "without root namespaces copy nothing"
    finally:
        here.close()
        again.close()
    assert list(temporary.iterdir()) == []


def test_missing_files_are_named(opener: Opener, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match="is no directory"):
        opener(tmp_path / "absent", LIMITS)


def test_speed_of_a_pooled_session(sandbox: Sandbox) -> None:
    began = time.monotonic()
    for _ in range(50):
        sandbox.run("wc -c 901.csv")
    assert (time.monotonic() - began) / 50 < 0.05
