"""The program inside the sandbox: read a request, run its command, answer, again.

It hands nothing to the commands it starts. A command cannot signal it (the kernel spares a
namespace's first process, and Landlock keeps signals inside a domain), cannot trace it or open its
files (it is not dumpable), and does not inherit the pipe the answers go through, so it can neither
forge an answer nor end the session. This file is passed as text to the system's Python inside the
sandbox; it imports the standard library only.
"""

# ruff: noqa: PTH101, PTH112, PTH114, PTH108, PTH118, PTH123, PTH208
# It works on descriptors, and importing pathlib would double its start.

import contextlib
import ctypes
import json
import math
import os
import resource
import select
import shutil
import signal
import struct
import time

PR_SET_DUMPABLE = 4
POLL_MILLISECONDS = 20
FLOOD = 16
"""A command that writes this many times what is kept of its output is ended."""


class Walls:
    """Say what surrounds the commands: here namespaces, of which this is the first process."""

    work, scratch = "/work", "/tmp"

    def enter(self) -> None:
        """Go behind the walls; the session was started behind these."""

    def enter_command(self) -> None:
        """Go behind those that only commands have, in the child that becomes one."""

    def others(self) -> "list[str]":
        """Return the ids of all processes of the session but this one."""
        return [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]

    def limits(self, request: dict) -> "dict[int, int]":
        """Return the limits of this kind of wall."""
        return {resource.RLIMIT_NPROC: request["processes"]}

    def overrun(self, request: dict) -> bool:
        """Tell whether a command uses more than it may of what no limit of the kernel bounds."""
        return False


def cpu_of(processes: "list[str]") -> float:
    """Return the CPU seconds of processes, with those of their reaped children."""
    ticks = 0
    for name in processes:
        try:
            with open(f"/proc/{name}/stat", "rb") as stat:
                fields = stat.read().rsplit(b")", 1)[1].split()
        except OSError:
            continue
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def cpu_of_reaped_children() -> float:
    """Return the CPU seconds of children this process has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def become_command(walls: Walls, request: dict, stdout: int, stderr: int) -> None:
    """Turn the forked child into the command; does not return."""
    try:
        os.setsid()
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        walls.enter_command()
        os.closerange(3, 256)
        limits = {
            resource.RLIMIT_AS: request["memory"],
            resource.RLIMIT_FSIZE: request["file"],
            resource.RLIMIT_CPU: math.ceil(request["cpu"]) + 1,
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_NOFILE: 128,
            resource.RLIMIT_MSGQUEUE: 0,
            **walls.limits(request),
        }
        for limit, value in limits.items():
            resource.setrlimit(limit, (value, value))
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(walls.work)
        home = {"HOME": walls.scratch, "TMPDIR": walls.scratch}
        command = ["bash", "--norc", "--noprofile", "-c", request["command"]]
        os.execve("/bin/bash", command, {"PATH": "/usr/bin:/bin", "LC_ALL": "C", **home})
    finally:
        os._exit(126)


class Output:
    """Keep the first bytes of one stream and count the rest."""

    def __init__(self, limit: int) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        self.limit = limit
        self.kept = bytearray()
        self.seen = 0
        self.open = True

    def drain(self) -> None:
        """Read what is there; up to one megabyte, so that a flood cannot hold the loop."""
        for _ in range(16):
            try:
                chunk = os.read(self.read_end, 1 << 16)
            except BlockingIOError:
                return
            if not chunk:
                self.open = False
                return
            self.seen += len(chunk)
            self.kept += chunk[: max(0, self.limit - len(self.kept))]

    def text(self) -> str:
        return self.kept.decode("utf-8", "replace")


def kill_everything() -> None:
    """End every process of the session but this one and reap them all."""
    while True:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.0005)


def watch(
    walls: Walls, child: int, request: dict, streams: "tuple[Output, Output]"
) -> "tuple[str, int]":
    """Follow the command until it ends, floods, or has used up its time; return (cause, status).

    Ends this process where the host has gone.
    """
    before = cpu_of_reaped_children()
    deadline = time.monotonic() + request["wall"]
    process = os.pidfd_open(child)
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.register(request["from"], 0)  # tells of a hang-up alone
    for stream in streams:
        poll.register(stream.read_end, select.POLLIN)
    cause, status = "", 0
    while not cause:
        ready = poll.poll(POLL_MILLISECONDS)
        if any(number == request["from"] for number, _ in ready):
            kill_everything()
            os._exit(0)
        for stream in [stream for stream in streams if stream.open]:
            stream.drain()
            if not stream.open:
                poll.unregister(stream.read_end)
        if any(number == process for number, _ in ready):
            cause, status = "ended", os.waitpid(child, 0)[1]
        elif any(stream.seen > FLOOD * stream.limit for stream in streams):
            cause = "flood"
        elif walls.overrun(request):
            cause = "overrun"
        elif time.monotonic() > deadline:
            cause = "wall"
        elif cpu_of(walls.others()) + cpu_of_reaped_children() - before > request["cpu"]:
            cause = "cpu"
    os.close(process)
    kill_everything()
    if cause == "ended" and walls.overrun(request):
        cause = "overrun"
    if cpu_of_reaped_children() - before > request["cpu"]:
        cause = "cpu"
    return cause, status


def run(walls: Walls, request: dict) -> dict:
    """Run one command and describe how it ended."""
    streams = (Output(request["output"]), Output(request["output"]))
    child = os.fork()
    if child == 0:
        become_command(walls, request, streams[0].write_end, streams[1].write_end)
    for stream in streams:
        os.close(stream.write_end)
    cause, status = watch(walls, child, request, streams)
    for stream in streams:
        while stream.open and stream.seen <= FLOOD * stream.limit:
            stream.drain()
        os.close(stream.read_end)
    code = os.waitstatus_to_exitcode(status) if cause == "ended" else -signal.SIGKILL
    return {
        "stdout": streams[0].text(),
        "stderr": streams[1].text(),
        "code": code if code >= 0 else 128 - code,
        "cpu": cause == "cpu" or code == -signal.SIGXCPU,
        "wall": cause == "wall",
        "truncated": any(stream.seen > stream.limit for stream in streams),
    }


def reset(scratch: str) -> dict:
    """Empty the scratch directory; `clean` is false if something could not be removed."""
    kill_everything()
    clean = True
    for name in os.listdir(scratch):
        path = os.path.join(scratch, name)
        try:
            if os.path.isdir(path) and not os.path.islink(path):
                os.chmod(path, 0o700)
                shutil.rmtree(path)
            else:
                os.unlink(path)
        except (OSError, RecursionError):
            clean = False
    return {"clean": clean}


def read_exactly(number: int, size: int) -> bytes:
    """Read `size` bytes; ends the driver, and with it the sandbox, when the host has gone."""
    data = b""
    while len(data) < size:
        chunk = os.read(number, size - len(data))
        if not chunk:
            kill_everything()
            os._exit(0)
        data += chunk
    return data


def serve(walls: Walls) -> None:
    """Serve requests for ever: a length in four bytes, then JSON; the answer repeats the
    request's id.
    """
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    walls.enter()
    while True:
        (size,) = struct.unpack(">I", read_exactly(requests, 4))
        request = json.loads(read_exactly(requests, size))
        request["from"] = requests
        answer = run(walls, request) if request["op"] == "run" else reset(walls.scratch)
        body = json.dumps({"id": request["id"], **answer}).encode()
        data = struct.pack(">I", len(body)) + body
        while data:
            data = data[os.write(answers, data) :]


if __name__ == "__main__":
    serve(Walls())
