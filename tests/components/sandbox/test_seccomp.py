"""The filter, interpreted: a small machine runs the program on made-up system calls."""

from __future__ import annotations

import struct

import pytest

from components.sandbox.seccomp import filter_program

ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050001, 0x80000000
X86, ARM = 0xC000003E, 0xC00000B7


def interpret(program: bytes, number: int, architecture: int, argument: int = 0) -> int:
    """Run the classic BPF program on (system call, architecture) and return its verdict."""
    lines = list(struct.iter_unpack("=HBBI", program))
    data, accumulator, at = {0: number, 4: architecture, 16: argument}, 0, 0
    while True:
        code, if_true, if_false, value = lines[at]
        at += 1
        if code == 0x20:
            accumulator = data[value]
        elif code == 0x06:
            return value
        else:
            holds = accumulator == value if code == 0x15 else accumulator >= value
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
