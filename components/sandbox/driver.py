"""The program inside the sandbox: read a request, run its command, answer, again.

It hands nothing to the commands it starts. A command cannot signal it (the kernel spares a
namespace's first process, or Landlock's scope is in the way), cannot trace it or open its files (it
is not dumpable), and does not inherit the pipe the answers go through, so it can neither forge an
answer nor end the session. This file runs in the system's Python inside the sandbox; it imports the
standard library only.
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
LOOK_MILLISECONDS = 20
FLOOD = 16
"""A command that writes this many times what is kept of its output is ended."""


class Namespaces:
    """Say where the session is and what bounds a command; here the kernel does it all."""

    work, scratch = "/work", "/tmp"
    pause = LOOK_MILLISECONDS
    """Milliseconds between two counts of the machine's tasks."""

    def enter(self) -> None:
        """Put up the walls around a command, in its own process; here they stand already."""

    def fork(self) -> int:
        """Fork the process that becomes the command."""
        return os.fork()

    def limits(self, request: dict) -> dict:
        """Return resource limits beside those that all tiers have."""
        return {resource.RLIMIT_NPROC: request["processes"]}

    def tasks(self) -> int:
        """Return how many tasks the machine has, where a sudden rise asks for a look."""
        return 0

    def restore(self) -> None:
        """Undo what a command may have done to the files; here it can do nothing."""

    def exceeded(self, below: "dict[int, list[bytes]]", request: dict) -> str:
        """Return which bound the processes below the driver have passed, or nothing."""
        return ""


def processes_below() -> "dict[int, list[bytes]]":
    """Return every process below this one, by its id: /proc/PID/stat from the state on.

    Orphans count, since they become children of the driver.
    """
    children: dict = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as stat:
                fields = stat.read().rsplit(b")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), {})[int(name)] = fields
    found, parents = {}, [os.getpid()]
    while parents:
        below = children.pop(parents.pop(), {})
        found.update(below)
        parents += below
    return found


def cpu_of(processes: "dict[int, list[bytes]]") -> float:
    """Return the CPU seconds of processes, with those of their reaped children."""
    ticks = sum(int(field) for fields in processes.values() for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def cpu_of_reaped_children() -> float:
    """Return the CPU seconds of children this process has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def become_command(request: dict, place: Namespaces, stdout: int, stderr: int) -> None:
    """Turn the forked child into the command; does not return."""
    try:
        os.setsid()
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        place.enter()
        os.closerange(3, 256)
        limits = {
            resource.RLIMIT_AS: request["memory"],
            resource.RLIMIT_FSIZE: request["file"],
            resource.RLIMIT_CPU: math.ceil(request["cpu"]) + 1,
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_NOFILE: 128,
            resource.RLIMIT_MSGQUEUE: 0,
            **place.limits(request),
        }
        for limit, value in limits.items():
            resource.setrlimit(limit, (value, value))
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(place.work)
        command = ["bash", "--norc", "--noprofile", "-c", request["command"]]
        variables = {"HOME": place.scratch, "TMPDIR": place.scratch, "LC_ALL": "C"}
        os.execve("/bin/bash", command, {"PATH": request["path"], **variables})
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


def signal_everything(number: int) -> None:
    """Send a signal to every process of the session but this one."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, number)


def kill_everything() -> None:
    """End every process of the session but this one and reap them all."""
    while True:
        signal_everything(signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.0005)


def leave() -> None:
    """End the session: nothing of it may outlive this process."""
    kill_everything()
    os._exit(0)


class Command:
    """Follow one command until it ends, floods, has passed a bound, or nobody waits for it."""

    def __init__(self, request: dict, place: Namespaces, host: int) -> None:
        self.request, self.place, self.host = request, place, host
        self.streams = (Output(request["output"]), Output(request["output"]))
        self.before = cpu_of_reaped_children()
        self.looked, self.tasks = time.monotonic(), place.tasks()
        self.deadline = self.looked + request["wall"]
        self.child = place.fork()
        if self.child == 0:
            become_command(request, place, *(stream.write_end for stream in self.streams))
        for stream in self.streams:
            os.close(stream.write_end)

    def watch(self) -> "tuple[str, int]":
        """Return why the command is over, and its wait status; by then no process is left."""
        process = os.pidfd_open(self.child)
        poll = select.poll()
        poll.register(process, select.POLLIN)
        poll.register(self.host, 0)  # its end is told even so
        for stream in self.streams:
            poll.register(stream.read_end, select.POLLIN)
        cause, status = "", 0
        while not cause:
            ready = [number for number, _ in poll.poll(self.place.pause)]
            for stream in [stream for stream in self.streams if stream.open]:
                stream.drain()
                if not stream.open:
                    poll.unregister(stream.read_end)
            if self.host in ready:
                leave()
            elif process in ready:
                cause, status = "ended", os.waitpid(self.child, 0)[1]
            else:
                cause = self.passed()
        os.close(process)
        kill_everything()
        if cpu_of_reaped_children() - self.before > self.request["cpu"]:
            cause = "cpu"
        elif cause == "ended":  # what it left may be too much, however fast it was
            cause = self.place.exceeded({}, self.request) or cause
        return cause, status

    def passed(self) -> str:
        """Return which bound the living command has passed, or nothing."""
        if any(stream.seen > FLOOD * stream.limit for stream in self.streams):
            return "flood"
        now = time.monotonic()
        if now > self.deadline:
            return "wall"
        tasks = self.place.tasks()
        crowded = tasks - self.tasks > self.request["processes"] // 2
        if now - self.looked < LOOK_MILLISECONDS / 1000 and not crowded:
            return ""
        if crowded:  # they must not multiply faster than they can be counted
            signal_everything(signal.SIGSTOP)
        below = processes_below()
        if cpu_of(below) + cpu_of_reaped_children() - self.before > self.request["cpu"]:
            return "cpu"
        cause = self.place.exceeded(below, self.request)
        if crowded and not cause:
            signal_everything(signal.SIGCONT)
        self.looked, self.tasks = time.monotonic(), self.place.tasks()
        return cause


def run(request: dict, place: Namespaces, host: int) -> dict:
    """Run one command and describe how it ended; `host` is the pipe that ends with the host."""
    command = Command(request, place, host)
    cause, status = command.watch()
    streams = command.streams
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


def reset(place: Namespaces) -> dict:
    """Empty the scratch directory; `clean` is false if something could not be removed."""
    kill_everything()
    place.restore()
    clean = True
    for name in os.listdir(place.scratch):
        path = os.path.join(place.scratch, name)
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
            leave()
        data += chunk
    return data


def serve(place: Namespaces) -> None:
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
    while True:
        (size,) = struct.unpack(">I", read_exactly(requests, 4))
        request = json.loads(read_exactly(requests, size))
        runs = request["op"] == "run"
        answer = run(request, place, requests) if runs else reset(place)
        body = json.dumps({"id": request["id"], **answer}).encode()
        data = struct.pack(">I", len(body)) + body
        while data:
            data = data[os.write(answers, data) :]


if __name__ == "__main__":
    serve(Namespaces())
