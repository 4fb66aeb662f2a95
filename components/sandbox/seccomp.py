"""The system-call filter of a session: calls that no honest command needs answer "not permitted".

A second wall behind namespaces or Landlock. The list holds what has repeatedly opened kernels to
unprivileged users (bpf, io_uring, userfaultfd, keyrings, new mounts), what reaches into other
processes, and shared memory that would outlive a command. Where commands share a machine with their
host it also holds what Landlock leaves open: sockets, modes and owners of files, the scheduling of
other processes, new namespaces. Classic BPF; instruction layout from linux/filter.h, numbers from
the kernel's tables (asm/unistd.h).
"""

from __future__ import annotations

import struct

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_KILL_PROCESS, _ALLOW = 0x8000_0000, 0x7FFF_0000
_NOT_PERMITTED, _NOT_THERE = 0x0005_0000 | 1, 0x0005_0000 | 38
_X32_BIT = 0x4000_0000

_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24
"""Places in what a filter sees; of an argument the lower half comes first."""
_SOCKET = (41, 198)
_FAMILIES = (1, 2, 10)
"""Sockets a command may make: unix, IPv4, IPv6. A vsock ignores network namespaces and would
reach a virtual machine's host; packet and crypto sockets are kernel surface that nobody needs.
"""

_ARCHITECTURES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}

_DENIED: dict[str, tuple[int, int]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
}
"""System call to its number on x86_64 and on aarch64."""


_DENIED_SHARED: dict[str, tuple[int, ...]] = {
    "socket": (41, 198),
    "chmod": (90,),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92,),
    "fchown": (93, 55),
    "lchown": (94,),
    "fchownat": (260, 54),
    "utime": (132,),
    "utimes": (235,),
    "futimesat": (261,),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    "inotify_init": (253,),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
}
"""Number on x86_64 and, where it has such a call, on aarch64."""

_ONLY_ON_ITSELF = {
    "prlimit64": (302, 261),
    "sched_setaffinity": (203, 122),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
}
"""Calls whose first argument is a process; 0 is the caller."""

_UTIMENSAT, _CLONE, _CLONE3 = (280, 88), (56, 220), (435, 435)
_NEW_NAMESPACES = 0x7E02_0000
"""Flags of clone for namespaces of mounts, control groups, names, IPC, users, processes and the
network.
"""


def filter_program(machine: str, *, shared: bool = False) -> bytes | None:
    """Return the filter in the layout `bwrap --seccomp` reads, or None for an unknown machine.

    With `shared` it is that of commands that share a machine with their host.
    """
    if machine not in _ARCHITECTURES:
        return None
    column = list(_ARCHITECTURES).index(machine)
    program = [
        _instruction(_LOAD, value=_ARCHITECTURE),
        _instruction(_JUMP_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        _instruction(_RETURN, value=_KILL_PROCESS),
        _instruction(_LOAD, value=_NUMBER),
    ]
    if machine == "x86_64":
        program += [
            _instruction(_JUMP_GREATER_EQUAL, 0, 1, _X32_BIT),
            _instruction(_RETURN, value=_KILL_PROCESS),
        ]
    for numbers in _DENIED.values():
        program += _deny(numbers[column])
    program += _shared(column) if shared else _deny_unless(_SOCKET[column], *_FAMILIES)
    program.append(_instruction(_RETURN, value=_ALLOW))
    return b"".join(program)


def _shared(column: int) -> list[bytes]:
    """Return the rules for a machine that is shared with the host."""
    program: list[bytes] = []
    for numbers in _DENIED_SHARED.values():
        program += _deny(numbers[column]) if column < len(numbers) else []
    for numbers in _ONLY_ON_ITSELF.values():
        program += _deny_unless(numbers[column], 0)
    program += _block(
        _CLONE[column],
        [
            _instruction(_LOAD, value=_FIRST_ARGUMENT),
            _instruction(_JUMP_ANY_BIT, 0, 1, _NEW_NAMESPACES),
            _instruction(_RETURN, value=_NOT_PERMITTED),
        ],
    )
    # Its flags lie in memory, where a filter cannot look; C libraries fall back to clone.
    program += _deny(_CLONE3[column], _NOT_THERE)
    # Without a path it sets the times of an open file, which Landlock let the command open.
    program += _block(
        _UTIMENSAT[column],
        [
            _instruction(_LOAD, value=_SECOND_ARGUMENT),
            _instruction(_JUMP_EQUAL, 0, 2, 0),
            _instruction(_LOAD, value=_SECOND_ARGUMENT + 4),
            _instruction(_JUMP_EQUAL, 1, 0, 0),
            _instruction(_RETURN, value=_NOT_PERMITTED),
        ],
    )
    return program


def _deny(number: int, verdict: int = _NOT_PERMITTED) -> list[bytes]:
    """Return the rule that refuses a call; it expects and leaves the number loaded."""
    return [_instruction(_JUMP_EQUAL, 0, 1, number), _instruction(_RETURN, value=verdict)]


def _deny_unless(number: int, *values: int) -> list[bytes]:
    """Return the rule that refuses a call unless its first argument is one of `values`."""
    chosen = [
        _instruction(_JUMP_EQUAL, left, 0, value)
        for left, value in zip(range(len(values), 0, -1), values, strict=True)
    ]
    load = _instruction(_LOAD, value=_FIRST_ARGUMENT)
    return _block(number, [load, *chosen, _instruction(_RETURN, value=_NOT_PERMITTED)])


def _block(number: int, rules: list[bytes]) -> list[bytes]:
    """Return rules for one call, after which its number is loaded again."""
    skip = _instruction(_JUMP_EQUAL, 0, len(rules) + 1, number)
    return [skip, *rules, _instruction(_LOAD, value=_NUMBER)]


def _instruction(code: int, if_true: int = 0, if_false: int = 0, value: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
