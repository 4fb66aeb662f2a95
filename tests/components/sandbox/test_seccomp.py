"""The filter, interpreted: a small machine runs the program on made-up system calls."""

from __future__ import annotations

import struct

import pytest

from components.sandbox.seccomp import filter_program

ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050001, 0x80000000
X86, ARM = 0xC000003E, 0xC00000B7


def interpret(program: bytes, number: int, architecture: int, first: int = 0, second=0) -> int:
    """Run the classic BPF program on a system call and return its verdict."""
    lines = list(struct.iter_unpack("=HBBI", program))
    low, high = second & 0xFFFFFFFF, second >> 32
    data, accumulator, at = {0: number, 4: architecture, 16: first, 24: low, 28: high}, 0, 0
    while True:
        code, if_true, if_false, value = lines[at]
        at += 1
        if code == 0x20:
            accumulator = data[value]
        elif code == 0x06:
            return value
        else:
            holds = {
                0x15: accumulator == value,
                0x35: accumulator >= value,
                0x45: accumulator & value != 0,
            }[code]
            at += if_true if holds else if_false


@pytest.mark.parametrize(
    ("number", "verdict"),
    [
        (0, ALLOW),
        (1, ALLOW),
        (59, ALLOW),
        (434, ALLOW),
        (101, REFUSE),
        (272, REFUSE),
        (165, REFUSE),
        (321, REFUSE),
        (29, REFUSE),
        (442, REFUSE),
        (0x40000000, KILL),
    ],
)
def test_verdicts_on_x86(number: int, verdict: int) -> None:
    program = filter_program("x86_64")
    assert program is not None
    assert interpret(program, number, X86) == verdict


def test_another_architecture_is_killed() -> None:
    program = filter_program("x86_64")
    assert program is not None
    assert interpret(program, 1, 0x40000003) == KILL


def test_verdicts_on_arm() -> None:
    program = filter_program("aarch64")
    assert program is not None
    assert interpret(program, 117, ARM) == REFUSE
    assert interpret(program, 64, ARM) == ALLOW


def test_unknown_machines_have_no_filter() -> None:
    assert filter_program("riscv64") is None


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 41), ("aarch64", 198)])
def test_only_common_sockets_are_allowed(machine: str, number: int) -> None:
    program = filter_program(machine)
    assert program is not None
    architecture = X86 if machine == "x86_64" else ARM
    allowed = [
        family for family in range(50) if interpret(program, number, architecture, family) == ALLOW
    ]
    assert allowed == [1, 2, 10]


NOT_THERE = 0x00050026


@pytest.mark.parametrize(
    ("name", "numbers", "arguments", "verdict"),
    [
        ("socket", (41, 198), (1,), REFUSE),
        ("socketpair", (53, 199), (1,), ALLOW),
        ("fchmodat", (268, 53), (), REFUSE),
        ("fchmodat2", (452, 452), (), REFUSE),
        ("prlimit of itself", (302, 261), (0,), ALLOW),
        ("prlimit of another", (302, 261), (17,), REFUSE),
        ("sched_setaffinity of another", (203, 122), (17,), REFUSE),
        ("fork", (56, 220), (0x01200011,), ALLOW),
        ("thread", (56, 220), (0x003D0F00,), ALLOW),
        ("namespace of users", (56, 220), (0x10000011,), REFUSE),
        ("namespace of mounts", (56, 220), (0x00020011,), REFUSE),
        ("clone3", (435, 435), (), NOT_THERE),
        ("times of an open file", (280, 88), (3, 0), ALLOW),
        ("times of a path", (280, 88), (3, 0x1000), REFUSE),
        ("times of a path far up", (280, 88), (3, 0x7F0000000000), REFUSE),
        ("setpriority", (141, 140), (), REFUSE),
        ("read", (0, 63), (), ALLOW),
        ("ptrace", (101, 117), (), REFUSE),
        ("mq_open", (240, 180), (), REFUSE),
    ],
)
def test_verdicts_where_the_machine_is_shared(name, numbers, arguments, verdict) -> None:
    for machine, architecture, number in zip(
        ("x86_64", "aarch64"), (X86, ARM), numbers, strict=True
    ):
        program = filter_program(machine, shared=True)
        assert program is not None
        assert interpret(program, number, architecture, *arguments) == verdict, name


def test_a_call_that_arm_lacks_is_refused_on_x86_alone() -> None:
    x86, arm = (filter_program(machine, shared=True) for machine in ("x86_64", "aarch64"))
    assert x86 is not None
    assert arm is not None
    chmod, capget = 90, 90
    assert interpret(x86, chmod, X86) == REFUSE
    assert interpret(arm, capget, ARM) == ALLOW
