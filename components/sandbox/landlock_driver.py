"""The driver of the tier `landlock`: it puts up its own walls, then serves like the other.

Nothing but what is named here can be opened, made, renamed or removed. Domains lie in each other:
the keeper's, the driver's, and each command's. A signal goes inwards only, so a command reaches
nothing but itself, the driver ends its commands, and the keeper, which reads nothing that a command
wrote, ends whatever a dead driver left. What Landlock does not govern, the system-call filter
refuses. Numbers and layouts from linux/landlock.h, linux/prctl.h and linux/filter.h.
"""

# ruff: noqa: PTH101, PTH115, PTH116, PTH123, PTH208
# Importing pathlib would double its start.

import contextlib
import ctypes
import itertools
import json
import os
import resource
import signal
import stat
import struct
import sys

from components.sandbox import driver

LEAST_ABI = 6
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
PATH_BENEATH = 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_SOCK, MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 11
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
ALL_FILES, ALL_TCP, ALL_SCOPES = (1 << 16) - 1, 0b11, 0b11
READ = READ_FILE | READ_DIR
RUN = READ | EXECUTE
DEVICE = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV
FULL = ALL_FILES & ~(MAKE_CHAR | MAKE_SOCK | MAKE_BLOCK | IOCTL_DEV)
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
SYSTEM = {
    **dict.fromkeys(("/usr", "/bin", "/sbin", "/lib", "/lib64"), RUN),
    **dict.fromkeys(("/etc/ld.so.cache", "/etc/alternatives"), READ),
    **dict.fromkeys(("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"), DEVICE),
}

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP = 1, 4, 22
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 36, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL, SECCOMP_MODE_FILTER = 4, 2
CAPABILITY_VERSION = 0x2008_0522
SPARE = 256
"""Tasks that a command can start however fast it is: this many, up to twice as many."""
LEAST_BLOCK = 4096
"""What an entry counts at least, so that a look at the scratch directory ends."""

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def call(what: str, function: str, *arguments: object) -> int:
    """Call the C library; ends the driver, naming the wall that could not be put up."""
    words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = getattr(libc, function)(*words)
    if result < 0:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def ruleset(rights: "dict[str, int]") -> int:
    """Return a descriptor of rules that allow what is listed and nothing else."""
    attributes = struct.pack("=QQQ", ALL_FILES, ALL_TCP, ALL_SCOPES)
    made = call("Landlock", "syscall", CREATE_RULESET, attributes, len(attributes), 0)
    for path, allowed in rights.items():
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            allowed &= OF_FILES
        rule = struct.pack("=Qi", allowed, place)
        call("Landlock", "syscall", ADD_RULE, made, PATH_BENEATH, rule, 0)
        os.close(place)
    return made


def occupied(directory: str, limit: int) -> int:
    """Return the bytes that a directory's entries take; more than `limit` where it cannot tell."""
    used, left = 0, [directory]
    try:
        while left and used <= limit:
            for entry in listed(left.pop(), limit // LEAST_BLOCK + 1):
                used += max(LEAST_BLOCK, size_of(entry.path))
                left += [entry.path] if entry.is_dir(follow_symlinks=False) else []
    except OSError:
        return limit + 1
    return used


def listed(directory: str, most: int) -> list:
    """Return the first entries of a directory, none where it has just gone."""
    try:
        with os.scandir(directory) as entries:
            return list(itertools.islice(entries, most))
    except FileNotFoundError:
        return []


def size_of(path: str) -> int:
    """Return the bytes of disk under a name, 0 where it has just gone."""
    try:
        return os.lstat(path).st_blocks * 512
    except FileNotFoundError:
        return 0


def nameless(processes: "dict[int, list[bytes]]") -> int:
    """Return the bytes of removed files that processes still hold open."""
    files = [file for process in processes for file in held_by(process)]
    return sum(
        {
            (file.st_dev, file.st_ino): file.st_blocks * 512
            for file in files
            if stat.S_ISREG(file.st_mode) and file.st_nlink == 0
        }.values()
    )


def held_by(process: int) -> list:
    """Return what the open files of a process are, as far as it lives and keeps them open."""
    found = []
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{process}/fd"):
            with contextlib.suppress(OSError):
                found.append(os.stat(f"/proc/{process}/fd/{name}"))
    return found


class Domain(driver.Namespaces):
    """Hold the session's domain; what bounds a command without namespaces is looked at while it
    runs.
    """

    pause = 2
    room, most = SPARE, 0

    def __init__(self, place: dict) -> None:
        self.work, self.scratch = place["files"], place["scratch"]
        self.filter = bytes.fromhex(place["filter"])
        code = ctypes.create_string_buffer(self.filter, len(self.filter))
        self.program = struct.pack("@HP", len(self.filter) // 8, ctypes.addressof(code))
        self.code = code
        names = [self.work, *(f"{self.work}/{name}" for name in os.listdir(self.work))]
        self.files = {name: os.stat(name) for name in names}
        python = [name for name in os.listdir("/etc") if name.startswith("python")]
        self.shown = {
            **SYSTEM,
            **{f"/etc/{name}": READ for name in python},
            self.work: READ,
            self.scratch: FULL,
        }

    def isolate(self) -> None:
        """Put up the walls around this process and all that it will start."""
        leave_first_to_the_oom_killer()
        empty = struct.pack("=6I", *([0] * 6))
        call("capabilities", "prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        call("capabilities", "capset", struct.pack("=Ii", CAPABILITY_VERSION, 0), empty)
        call("no_new_privs", "prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        call("dumpable", "prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)
        outer = ruleset({**self.shown, "/proc": READ})
        self.inner = ruleset(self.shown)
        adopt(outer)
        # Not before: outside a domain it would end whatever this user runs.
        signal.signal(signal.SIGTERM, lambda *_: driver.leave())
        child = os.fork()
        if child != 0:
            keep(child)
        adopt(outer)
        os.close(outer)

    def enter(self) -> None:
        call("parent's death", "prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        call("Landlock", "syscall", RESTRICT_SELF, self.inner, 0)
        call("seccomp", "prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, self.program, 0, 0)

    def fork(self) -> int:
        """Fork with room to spare below the limit of `limits`, which rises where others need it."""
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        self.most = sys.maxsize if hard == resource.RLIM_INFINITY else hard
        while True:
            resource.setrlimit(resource.RLIMIT_NPROC, (min(self.room, self.most), hard))
            try:
                return os.fork()
            except BlockingIOError:
                if self.room >= self.most:
                    raise
                self.room += SPARE

    def limits(self, request: dict) -> dict:
        """Return a backstop, for a bomb that keeps the driver from its turn: the kernel counts all
        tasks of this user on the machine, so it can be no closer.
        """
        return {resource.RLIMIT_NPROC: min(self.room + SPARE, self.most)}

    def tasks(self) -> int:
        """Return the tasks of the whole machine: read at once, where counting ours takes longer
        the more a bomb has made.
        """
        with open("/proc/loadavg") as load:
            return int(load.read().split()[3].split("/")[1])

    def restore(self) -> None:
        """Give the files back their modes and times, which their owner can change once they are
        open; in a pod this user is the owner.
        """
        for path, before in self.files.items():
            now = os.stat(path)
            if (now.st_mode, now.st_mtime_ns) != (before.st_mode, before.st_mtime_ns):
                os.chmod(path, stat.S_IMODE(before.st_mode))
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def exceeded(self, below: "dict[int, list[bytes]]", request: dict) -> str:
        threads = sum(int(fields[17]) for fields in below.values())
        if threads > request["processes"]:
            return "processes"
        used = occupied(self.scratch, request["scratch"]) + nameless(below)
        return "scratch" if used > request["scratch"] else ""


def adopt(rules: int) -> None:
    """Enter a domain whose orphans become children of this process, which ends with its parent."""
    call("subreaper", "prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    call("Landlock", "syscall", RESTRICT_SELF, rules, 0)
    call("parent's death", "prctl", PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def keep(child: int) -> None:
    """Wait for the driver's end, then end what is left; does not return."""
    os.closerange(0, 3)
    while os.waitpid(-1, 0)[0] != child:
        pass
    driver.leave()


def leave_first_to_the_oom_killer() -> None:
    """Offer this session before the stage that asked for it, should memory run out."""
    try:
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
    except OSError:
        return


def main(place: dict) -> None:
    """Serve in a domain; ends at once, with the reason, where the kernel cannot make one."""
    abi = libc.syscall(ctypes.c_long(CREATE_RULESET), None, ctypes.c_long(0), ctypes.c_long(1))
    if abi < LEAST_ABI:
        sys.exit(f"the kernel offers no Landlock of ABI {LEAST_ABI} (found {max(abi, 0)})")
    if os.readlink("/proc/self") != str(os.getpid()):
        sys.exit("/proc shows another pid namespace's processes")
    domain = Domain(place)
    domain.isolate()
    driver.serve(domain)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
