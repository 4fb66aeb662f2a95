"""What stands in for namespaces: domains in each other, a stricter filter, and a driver that looks
at what it cannot bound.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.contract import EnvironmentMissing
from components.sandbox.interface import Limits, Sandbox, open_sandbox
from components.sandbox.landlock import LandlockSandbox
from tests.processes import processes_of, wait_until

LIMITS = Limits(wall_seconds=5.0)
NOBODY = 65534


@pytest.fixture(scope="module")
def sandbox(files: Path) -> Iterator[LandlockSandbox]:
    session = open_sandbox("landlock", files, LIMITS)
    assert isinstance(session, LandlockSandbox)
    yield session
    session.close()


@pytest.fixture(autouse=True)
def nothing_is_left_running(sandbox: LandlockSandbox) -> Iterator[None]:
    """After every test only the keeper and the driver live, and the session answers truly."""
    yield
    sandbox.reset()
    assert sandbox.run("cat 901.csv; ls -A $HOME").stdout == "a b\nc\n"
    assert len(processes_of(sandbox._staged.path)) == 2


@pytest.fixture
def sibling() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process of the very user that commands run as, outside the session."""
    user = NOBODY if os.geteuid() == 0 else None
    process = subprocess.Popen(
        ["sleep", "60"], user=user, group=user, env={"SECRET": "s3cret", "PATH": "/usr/bin"}
    )
    yield process
    assert process.poll() is None
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == os.getpriority(os.PRIO_PROCESS, 0)
    process.kill()
    process.wait()


def python(sandbox: Sandbox, script: str) -> str:
    """Run a script with `call(number, *arguments)` for system calls; return what it prints."""
    head = """
        import ctypes, os, signal, socket, sys, threading, time
        libc = ctypes.CDLL(None, use_errno=True)
        def attempt(work, *arguments):
            try:
                return work(*arguments) and "" or "done"
            except OSError as problem:
                return type(problem).__name__
    """
    text = textwrap.dedent(head) + textwrap.dedent(script)
    done = sandbox.run(f"python3 - <<'END'\n{text}\nEND", cpu_seconds=10.0)
    return done.stdout + done.stderr


def test_processes_of_the_same_user_are_out_of_reach(
    sandbox: LandlockSandbox, sibling: subprocess.Popen[bytes]
) -> None:
    for command in (
        f"cat /proc/{sibling.pid}/environ",
        f"cat /proc/{sibling.pid}/cmdline",
        f"cat /proc/{os.getpid()}/environ",
        f"ls /proc/{sibling.pid}/cwd/",
        f"readlink /proc/{sibling.pid}/cwd",
        f"kill {sibling.pid}",
        f"kill -0 {sibling.pid}",
        f"kill -9 -{os.getpgid(sibling.pid)}",
        f"kill {os.getpid()}",
        f"kill -0 {os.getpid()}",
    ):
        done = sandbox.run(command)
        assert done.code != 0, command
        assert "s3cret" not in done.stdout
    assert sandbox.run("kill -9 -1; echo on").stdout == "on\n"
    assert sandbox.run("sleep 9 & kill -9 $!; wait $!; echo $?").stdout == "137\n"


def test_limits_and_priorities_of_others_are_out_of_reach(
    sandbox: LandlockSandbox, sibling: subprocess.Popen[bytes]
) -> None:
    said = python(
        sandbox,
        f"""
        import resource
        parent = os.getppid()
        print(attempt(resource.prlimit, parent, resource.RLIMIT_NOFILE, (9, 9)))
        print(attempt(resource.prlimit, {sibling.pid}, resource.RLIMIT_CPU, (1, 1)))
        print(attempt(resource.setrlimit, resource.RLIMIT_CORE, (0, 0)))
        print(attempt(os.sched_setaffinity, {sibling.pid}, [0]))
        os.setpriority(os.PRIO_PROCESS, {sibling.pid}, 19)
        print(libc.ptrace(16, {sibling.pid}, 0, 0))
        handle = os.pidfd_open({sibling.pid})
        print(attempt(signal.pidfd_send_signal, handle, signal.SIGKILL))
        """,
    )
    refused = "PermissionError\n"
    assert said == f"{refused}{refused}done\n{refused}-1\n{refused}"


def test_the_session_ends_nobody_elses_processes(
    files: Path, sandbox: LandlockSandbox, sibling: subprocess.Popen[bytes]
) -> None:
    other = open_sandbox("landlock", files, LIMITS)
    assert isinstance(other, LandlockSandbox)
    try:
        theirs = str(other._staged.path)
        assert theirs != str(sandbox._staged.path)
        for command in (f"cat {theirs}/files/901.csv", f"ls {theirs}/home", f"> {theirs}/home/x"):
            assert sandbox.run(command).code != 0
        waiting = subprocess.Popen(
            [sys.executable, "-c", HOLDS, str(files)], stdout=-1, text=True, cwd=Path.cwd()
        )
        assert waiting.stdout is not None
        place = Path(waiting.stdout.readline().strip())
        before = processes_of(place)
        assert len(before) == 4, "keeper, driver, bash, sleep"
        for session in (sandbox, other):
            session.run("kill -9 -1; sleep 0.1")
            session.reset()
        assert processes_of(place) == before
        waiting.kill()
        waiting.wait()
        wait_until(lambda: not processes_of(place), 10, "for what the killed owner started")
    finally:
        other.close()


HOLDS = """
import sys, threading
from pathlib import Path
from components.sandbox.interface import Limits
from components.sandbox.landlock import LandlockSandbox
session = LandlockSandbox(Path(sys.argv[1]), Limits())
threading.Timer(1.0, lambda: print(session._staged.path, flush=True)).start()
session.run("setsid -f sleep 60; sleep 60")
"""


@pytest.mark.parametrize("victim", ["owner", "keeper", "driver"])
def test_whoever_is_killed_nothing_is_left(files: Path, victim: str) -> None:
    command = [sys.executable, "-c", HOLDS, str(files)]
    owner = subprocess.Popen(command, stdout=-1, text=True, cwd=Path.cwd())
    assert owner.stdout is not None
    place = Path(owner.stdout.readline().strip())
    try:
        keeper = children_of(owner.pid)[0]
        driver = children_of(keeper)[0]
        os.kill({"owner": owner.pid, "keeper": keeper, "driver": driver}[victim], signal.SIGKILL)
        gone = {keeper, driver}
        wait_until(lambda: not gone & set(processes_of(place)), 10)
        wait_until(lambda: "sleep" not in " ".join(processes_of(place).values()), 10)
    finally:
        owner.kill()
        owner.wait()
    wait_until(lambda: not processes_of(place), 10)


def children_of(process: int) -> list[int]:
    listed = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for path in listed for child in path.read_text().split()]


def test_a_closed_session_leaves_no_process_and_no_directory(files: Path) -> None:
    session = LandlockSandbox(files, LIMITS)
    place = session._staged.path
    session.run("(setsid -f bash -c 'trap \"\" TERM HUP; sleep 50') & disown -a; echo x > $HOME/x")
    assert len(processes_of(place)) == 2
    began = time.monotonic()
    session.close()
    assert time.monotonic() - began < 1
    assert processes_of(place) == {}
    assert not place.exists()


def test_no_socket_but_pairs_of_streams(sandbox: LandlockSandbox) -> None:
    said = python(
        sandbox,
        """
        for family in ("AF_UNIX", "AF_INET", "AF_INET6", "AF_VSOCK", "AF_NETLINK", "AF_PACKET"):
            print(attempt(socket.socket, getattr(socket, family), socket.SOCK_DGRAM))
        print(attempt(socket.socketpair, socket.AF_UNIX, socket.SOCK_DGRAM))
        left, right = socket.socketpair()
        left.send(b"x")
        print(right.recv(1))
        """,
    )
    assert said == "PermissionError\n" * 7 + "b'x'\n"
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        said = sandbox.run(f"exec 3<>/dev/tcp/127.0.0.1/{port}").stderr
    assert "Operation not permitted" in said


def test_files_outside_keep_content_modes_and_times(sandbox: LandlockSandbox) -> None:
    place = sandbox._staged.path
    inside = place / "outside"
    inside.write_text("before", encoding="utf-8")
    inside.chmod(0o666)
    if os.geteuid() == 0:
        os.chown(inside, NOBODY, NOBODY)
    before = inside.stat()
    said = python(
        sandbox,
        f"""
        path = {str(inside)!r}
        for work in (
            lambda: open(path).read(), lambda: open(path, "a"), lambda: os.truncate(path, 0),
            lambda: os.utime(path), lambda: os.unlink(path), lambda: os.rename(path, "x"),
            lambda: os.link(path, os.environ["HOME"] + "/x"), lambda: os.mkdir(path + "d"),
            lambda: os.symlink("x", path + "s"), lambda: os.mkfifo(path + "f"),
            lambda: os.listdir(os.path.dirname(path)),
        ):
            print(attempt(work))
        for work in (
            lambda: os.chmod(path, 0), lambda: os.chown(path, -1, -1),
            lambda: os.setxattr(path, "user.x", b"x"),
        ):
            attempt(work)
        """,
    )
    assert len(said.split()) == 11
    assert set(said.split()) == {"PermissionError", "OSError"}, "the latter for another directory"
    after = inside.stat()
    assert inside.read_text(encoding="utf-8") == "before"
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert "user.x" not in os.listxattr(inside)


def test_modes_of_the_files_come_back(files: Path, sandbox: LandlockSandbox) -> None:
    """Where the session's user owns the files, as in a pod, it can change them once open."""
    copy = sandbox._staged.files / "901.csv"
    if os.geteuid() == 0:
        os.chown(copy, NOBODY, NOBODY)
    before = copy.stat()
    python(sandbox, "os.fchmod(os.open('901.csv', 0), 0); os.utime(os.open('901.csv', 0), (1, 1))")
    sandbox.reset()
    after = copy.stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


def test_inner_objects_of_the_host_are_refused(sandbox: LandlockSandbox) -> None:
    said = python(
        sandbox,
        """
        for number in (29, 30, 31, 64, 66, 68, 69, 71, 240, 241, 250, 253, 254 + 40, 300, 425):
            print(libc.syscall(number, 0, 0, 0, 0), ctypes.get_errno())
        """,
    )
    if os.uname().machine == "x86_64":
        assert said == "-1 1\n" * 15


def test_a_fork_bomb_ends_and_leaves_nothing(sandbox: LandlockSandbox) -> None:
    began = time.monotonic()
    done = sandbox.run("bomb() { bomb | bomb & }; bomb; sleep 4", cpu_seconds=5.0)
    assert time.monotonic() - began < 4
    assert done.code == 137
    assert not done.infrastructure


@pytest.mark.parametrize(
    "made", ["os.fork() or time.sleep(9)", "threading.Thread(target=wait).start()"]
)
def test_processes_and_threads_are_counted(sandbox: LandlockSandbox, made: str) -> None:
    script = f"""
        def wait(): time.sleep(9)
        threading.stack_size(32768)
        for number in range(40):
            {made}
        time.sleep(9)
    """
    text = "import os, threading, time\n" + textwrap.dedent(script)
    began = time.monotonic()
    done = sandbox.run(f"python3 - <<'END'\n{text}\nEND", cpu_seconds=5.0)
    assert (done.code, done.infrastructure) == (137, False)
    assert time.monotonic() - began < 3


FILLERS = {
    "files": "for i in 1 2 3 4 5 6; do head -c 4000000 /dev/zero > $HOME/f$i; done",
    "while it runs": "cd; for i in {1..6}; do head -c 4000000 /dev/zero > f$i; done; sleep 4",
    "many names": "cd; for i in $(seq 9); do mkdir $i; touch $i/{1..999}; done",
    "deep": 'cd; python3 -c \'import os\nfor n in range(3000):\n os.mkdir("d"); os.chdir("d")\'',
    "hidden": "cd; mkdir -m 300 d; echo x > d/x; sleep 3",
    "removed": "for i in 1 2 3 4 5 6; do f=$HOME/f; exec {d}>$f; rm $f; "
    "head -c 4000000 /dev/zero >&$d; done; sleep 4",
}


@pytest.mark.parametrize("command", FILLERS.values(), ids=FILLERS.keys())
def test_filling_the_scratch_ends_the_command(sandbox: LandlockSandbox, command: str) -> None:
    began = time.monotonic()
    done = sandbox.run(command, cpu_seconds=5.0)
    assert (done.code, done.infrastructure) == (137, False)
    assert time.monotonic() - began < 3
    sandbox.reset()
    assert sandbox.run("ls -A $HOME").stdout == ""


POD = """
import ctypes, os, sys, tempfile
from pathlib import Path
from components.sandbox import landlock, selftest
from components.sandbox.interface import Limits, open_sandbox
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(10001, 10001, 10001)
    os.setresuid(10001, 10001, 10001)
assert ctypes.CDLL(None).prctl(38, 1, 0, 0, 0) == 0
status = Path("/proc/self/status").read_text()
assert "CapEff:\\t0000000000000000" in status and "NoNewPrivs:\\t1" in status
with tempfile.TemporaryDirectory() as name:
    (Path(name) / "901.csv").write_text("a b\\n")
    sandbox = open_sandbox("landlock", Path(name), Limits())
    assert sandbox.run("kill -0 $PPID").code == 1
    assert sandbox.run(f"kill -0 {os.getpid()}").code == 1
    assert sandbox.run(f"cat /proc/{os.getpid()}/environ").code == 1
    python = "import os; os.fchmod(os.open('901.csv', 0), 0)"
    assert sandbox.run(f'python3 -c "{python}"').code == 0
    sandbox.reset()
    print(sandbox.run("wc -c 901.csv; id -u").stdout)
    sandbox.close()
    print(os.listdir(tempfile.gettempdir()))
"""


def test_it_opens_as_in_a_restricted_pod(temporary: Path) -> None:
    temporary.chmod(0o777)
    done = subprocess.run(
        [sys.executable, "-c", POD], capture_output=True, text=True, check=False, cwd=Path.cwd()
    )
    assert done.stderr == ""
    user = 10001 if os.geteuid() == 0 else os.geteuid()
    assert done.stdout.split("\n")[:2] == ["4 901.csv", str(user)]
    assert "strata-sandbox" not in done.stdout


def test_a_kernel_without_landlock_is_named(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter around everything refuses the calls, as an old kernel does."""
    script = """
        import ctypes, os, struct, sys
        from pathlib import Path
        from components.contract import EnvironmentMissing
        from components.sandbox.interface import open_sandbox
        libc = ctypes.CDLL(None)
        lines = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (6, 0, 0, 0x50026), (6, 0, 0, 0x7FFF0000)]
        code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *x) for x in lines))
        assert libc.prctl(38, 1, 0, 0, 0) == 0
        program = struct.pack("@HP", len(lines), ctypes.addressof(code))
        assert libc.prctl(22, 2, program, 0, 0) == 0
        try:
            open_sandbox("landlock", Path(sys.argv[1]))
        except EnvironmentMissing as problem:
            print(problem)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(files)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path.cwd(),
    )
    assert "the kernel offers no Landlock of ABI 6" in done.stdout, done.stderr
    assert "Linux 6.12" in done.stdout


def test_a_machine_without_filter_is_refused(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "n", "6", "v", "riscv64")))
    with pytest.raises(EnvironmentMissing, match="no system-call filter for riscv64"):
        open_sandbox("landlock", files)
