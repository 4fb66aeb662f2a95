"""The system-call filter of a session: calls that no honest command needs answer "not permitted".

A second wall behind the namespaces. The list holds what has repeatedly opened kernels to
unprivileged users (bpf, io_uring, userfaultfd, keyrings, new mounts), what reaches into other
processes, and shared memory that would outlive a command. Classic BPF; instruction layout from
linux/filter.h, numbers from the kernel's tables (asm/unistd.h).
"""

from __future__ import annotations

import struct

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _RETURN = 0x20, 0x15, 0x35, 0x06
_KILL_PROCESS, _ALLOW = 0x8000_0000, 0x7FFF_0000
_NOT_PERMITTED = 0x0005_0000 | 1
_X32_BIT = 0x4000_0000

_FIRST_ARGUMENT = 16
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


def filter_program(machine: str) -> bytes | None:
    """Return the filter in the layout `bwrap --seccomp` reads, or None for an unknown machine."""
    if machine not in _ARCHITECTURES:
        return None
    column = list(_ARCHITECTURES).index(machine)
    denied = sorted(numbers[column] for numbers in _DENIED.values())
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
    end = _end(_SOCKET[column])
    for left, number in zip(range(len(denied), 0, -1), denied, strict=True):
        program.append(_instruction(_JUMP_EQUAL, left - 1 + len(end) - 2, 0, number))
    program += end
    return b"".join(program)


def _end(socket: int) -> list[bytes]:
    """Return the last instructions: which sockets are allowed, then refuse, then allow."""
    families = [
        _instruction(_JUMP_EQUAL, left, 0, family)
        for left, family in zip(range(len(_FAMILIES), 0, -1), _FAMILIES, strict=True)
    ]
    return [
        _instruction(_JUMP_EQUAL, 0, len(families) + 2, socket),
        _instruction(_LOAD, value=_FIRST_ARGUMENT),
        *families,
        _instruction(_RETURN, value=_NOT_PERMITTED),
        _instruction(_RETURN, value=_ALLOW),
    ]


def _instruction(code: int, if_true: int = 0, if_false: int = 0, value: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
