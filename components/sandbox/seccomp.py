"""The system-call filter of a session: calls that no honest command needs answer "not permitted".

Behind namespaces it is a second wall. The list holds what has repeatedly opened kernels to
unprivileged users (bpf, io_uring, userfaultfd, keyrings, new mounts), what reaches into other
processes, and shared memory that would outlive a command. Without namespaces it is also the first
wall against what Landlock does not know: sockets, System V objects, the modes of files, and the
limits and priorities of processes of the same user. Classic BPF; instruction layout from
linux/filter.h, numbers from the kernel's tables (asm/unistd.h).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_LOAD, _JUMP_ALWAYS, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x06
_KILL_PROCESS, _ALLOW = 0x8000_0000, 0x7FFF_0000
_NOT_PERMITTED, _IGNORED = 0x0005_0000 | 1, 0x0005_0000
_X32_BIT = 0x4000_0000

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
    "open_tree_attr": (467, 467),
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

_DENIED_WITHOUT_NAMESPACES: dict[str, tuple[int | None, int | None]] = {
    "socket": (41, 198),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_unlink": (241, 181),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "file_setattr": (469, 469),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
}
"""What reaches beyond the session where no namespace is around it. Watches tell the names in
directories that cannot be listed.
"""

_IGNORED_WITHOUT_NAMESPACES: dict[str, tuple[int | None, int | None]] = {
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "chmod": (90, None),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
}
"""Calls that do nothing and say they did, so that `cp -p`, `sed -i` and `nice` work as elsewhere.

Landlock governs opening, making, renaming and removing; these act without opening, on all that the
session's user owns. `fchmod` stays: it needs an open file, and the driver restores the task's.
"""

_FIRST, _SECOND, _SECOND_HIGH = 16, 24, 28
_Condition = tuple[tuple[int, int], tuple[tuple[int, tuple[int, ...]], ...]]

_SOCKETS: _Condition = ((41, 198), ((_FIRST, (1, 2, 10)),))
"""Sockets a command may make in a network namespace: unix, IPv4, IPv6. A vsock ignores network
namespaces and would reach a virtual machine's host; packet and crypto sockets are kernel surface
that nobody needs.
"""
_STREAM_FLAGS = (0o1, 0o4001, 0o2000001, 0o2004001)
_WITHOUT_NAMESPACES: tuple[_Condition, ...] = (
    # Pairs of unix streams only: half a pair of datagrams can still send to any path.
    ((53, 199), ((_FIRST, (1,)), (_SECOND, _STREAM_FLAGS))),
    # prlimit64 on the caller.
    ((302, 261), ((_FIRST, (0,)),)),
    # utimensat on an open file, as `touch` does, not on a path.
    ((280, 88), ((_SECOND, (0,)), (_SECOND_HIGH, (0,)))),
)
"""Numbers on both machines, and for places in the call's data the only values that may pass."""


def filter_program(machine: str, *, namespaces: bool = True) -> bytes | None:
    """Return the filter in the layout `bwrap --seccomp` reads, or None for an unknown machine.

    Without namespaces around the session, more has to be refused.
    """
    if machine not in _ARCHITECTURES:
        return None
    column = list(_ARCHITECTURES).index(machine)
    program = [
        _instruction(_LOAD, value=4),
        _instruction(_JUMP_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        _instruction(_RETURN, value=_KILL_PROCESS),
        _instruction(_LOAD, value=0),
    ]
    if machine == "x86_64":
        program += [
            _instruction(_JUMP_GREATER_EQUAL, 0, 1, _X32_BIT),
            _instruction(_RETURN, value=_KILL_PROCESS),
        ]
    program += _answer([numbers[column] for numbers in _DENIED.values()], _NOT_PERMITTED)
    if not namespaces:
        for table, verdict in (
            (_DENIED_WITHOUT_NAMESPACES, _NOT_PERMITTED),
            (_IGNORED_WITHOUT_NAMESPACES, _IGNORED),
        ):
            known = [numbers[column] for numbers in table.values()]
            program += _answer([number for number in known if number is not None], verdict)
    for numbers, tests in (_SOCKETS,) if namespaces else _WITHOUT_NAMESPACES:
        only = [line for offset, values in tests for line in _must_be(offset, values)]
        program += [_instruction(_JUMP_EQUAL, 0, len(only) + 1, numbers[column]), *only]
        program.append(_instruction(_RETURN, value=_ALLOW))
    program.append(_instruction(_RETURN, value=_ALLOW))
    return b"".join(program)


def _answer(calls: list[int], verdict: int) -> list[bytes]:
    """Return instructions that give one verdict to all these system calls."""
    return [
        *_jumps_past_next(sorted(calls)),
        _instruction(_JUMP_ALWAYS, value=1),
        _instruction(_RETURN, value=verdict),
    ]


def _must_be(offset: int, values: tuple[int, ...]) -> list[bytes]:
    """Return instructions that refuse unless the word at `offset` is one of the values."""
    return [
        _instruction(_LOAD, value=offset),
        *_jumps_past_next(values),
        _instruction(_RETURN, value=_NOT_PERMITTED),
    ]


def _jumps_past_next(values: Sequence[int]) -> list[bytes]:
    """Return a comparison with each value; where one is equal, it jumps over the instruction after
    the last comparison.
    """
    return [
        _instruction(_JUMP_EQUAL, left, 0, value)
        for left, value in zip(range(len(values), 0, -1), values, strict=True)
    ]


def _instruction(code: int, if_true: int = 0, if_false: int = 0, value: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
