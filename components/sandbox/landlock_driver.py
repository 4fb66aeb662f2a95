"""The walls of a session without namespaces, for a driver that shares its machine with its host.

Two Landlock domains lie inside each other. The driver enters the outer one at its start: system
files to read, one directory to write, no network, no signal to anything outside. Every command
enters the inner one, which lacks `/proc`, and whose signals do not reach the driver; a filter of
system calls takes what Landlock leaves open. The driver's `kill(-1)` reaches both domains and
nothing else, which is tried on a process outside before it is relied on.

Numbers and layouts from linux/landlock.h, linux/seccomp.h and linux/prctl.h. Like the driver this
is passed as text to the system's Python, so it imports the standard library and the driver only.
"""

# ruff: noqa: PTH123, PTH208

import contextlib
import ctypes
import os
import struct
import sys

from components.sandbox.driver import Walls, serve

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
NEEDED_ABI = 6
"""First version that keeps signals inside a domain: Linux 6.12."""
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER = 38, 22, 36
SECCOMP_MODE_FILTER = 2

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
ALL_FILE_RIGHTS = 0xFFFF
MAKE_DEVICES = 1 << 6 | 1 << 11
IOCTL_DEV = 1 << 15
ALL_TCP, ALL_SCOPES = 3, 3
READ = EXECUTE | READ_FILE | READ_DIR
WRITE = ALL_FILE_RIGHTS & ~(MAKE_DEVICES | IOCTL_DEV)

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/alternatives")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
SMALLEST_FILE = 4096
"""Bytes that an empty file counts for, so that there cannot be any number of them."""

libc = ctypes.CDLL(None, use_errno=True)


def called(number: int, *arguments: object) -> int:
    """Make a system call; raises OSError where the kernel refuses it."""
    result = libc.syscall(number, *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def ruleset(rules: "list[tuple[str, int]]") -> int:
    """Return a descriptor of a ruleset that allows rights on paths, and nothing else."""
    attributes = struct.pack("=QQQ", ALL_FILE_RIGHTS, ALL_TCP, ALL_SCOPES)
    made = called(CREATE_RULESET, attributes, len(attributes), 0)
    for path, rights in rules:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        called(ADD_RULE, made, 1, struct.pack("=Qi", rights, place), 0)
        os.close(place)
    return made


def children_of(process: str) -> "list[str]":
    """Return the ids of the children of a process."""
    found: list[str] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{thread}/children") as children:
                found += children.read().split()
    return found


def look_into(directory: str) -> "tuple[int, list[str]]":
    """Return how many bytes the entries of a directory take, and which of them are directories."""
    taken, inside = 0, []
    with os.scandir(directory) as entries:
        for entry in entries:
            taken += max(entry.stat(follow_symlinks=False).st_blocks * 512, SMALLEST_FILE)
            if entry.is_dir(follow_symlinks=False):
                inside.append(entry.path)
    return taken, inside


class Domains(Walls):
    """Hold the two domains and the filter."""

    def __init__(self, work: str, scratch: str, program: bytes) -> None:
        self.work, self.scratch = work, scratch
        self._instructions = ctypes.create_string_buffer(program, len(program))
        self._filter = struct.pack("@HP", len(program) // 8, ctypes.addressof(self._instructions))
        self._inner = -1

    def enter(self) -> None:
        """Go behind the walls, and end where they do not hold."""
        if called(CREATE_RULESET, None, 0, 1) < NEEDED_ABI:
            raise OSError(f"Landlock has no version {NEEDED_ABI} here")
        shown = [(path, READ) for path in (*SYSTEM, self.work)]
        shown += [("/etc/ld.so.cache", READ_FILE), (self.scratch, WRITE)]
        shown += [(path, READ_FILE | WRITE_FILE) for path in DEVICES]
        self._inner = ruleset(shown)
        outer = ruleset([*shown, ("/proc", READ_FILE | READ_DIR)])
        for option, value in ((PR_SET_NO_NEW_PRIVS, 1), (PR_SET_CHILD_SUBREAPER, 1)):
            if libc.prctl(option, value, 0, 0, 0):
                raise OSError("the kernel refuses a process control")
        waiting, told = os.pipe()
        outside = os.fork()
        if outside == 0:
            os.close(told)
            os.read(waiting, 1)
            os._exit(0)
        called(RESTRICT_SELF, outer, 0)
        os.close(outer)
        try:
            os.kill(outside, 0)
        except PermissionError:
            os.close(told)
            os.close(waiting)
            os.waitpid(outside, 0)
        else:
            os._exit(1)  # kill(-1) would reach whatever the user runs

    def enter_command(self) -> None:
        """Go into the inner domain, behind the filter."""
        called(RESTRICT_SELF, self._inner, 0)
        if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, self._filter, 0, 0):
            raise OSError("the kernel refuses the filter of system calls")

    def others(self) -> "list[str]":
        """Return the ids of all that descend from this process: orphans become its children."""
        found = children_of(str(os.getpid()))
        for process in found:  # grows meanwhile
            found += children_of(process)
        return found

    def limits(self, request: dict) -> "dict[int, int]":
        """Return none: the kernel counts every process of this user, on the whole machine."""
        return {}

    def overrun(self, request: dict) -> bool:
        """Tell whether there are too many processes, or too many bytes in the scratch directory."""
        left = request["scratch"]
        places = [self.scratch]
        for place in places:  # grows meanwhile
            try:
                taken, inside = look_into(place)
            except (FileNotFoundError, NotADirectoryError):
                continue  # it has gone meanwhile
            except OSError:
                return True  # what cannot be looked into may hide any number of bytes
            left -= taken
            places += inside
            if left < 0:
                return True
        return len(self.others()) > request["processes"]


if __name__ == "__main__":
    serve(Domains(sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3])))
