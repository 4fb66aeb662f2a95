"""The filter, interpreted: a small machine runs the program on made-up system calls."""

from __future__ import annotations

import struct

import pytest

from components.sandbox.seccomp import filter_program

ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050001, 0x80000000
X86, ARM = 0xC000003E, 0xC00000B7


def interpret(program: bytes, number: int, architecture: int, *arguments: int) -> int:
    """Run the classic BPF program on (system call, architecture) and return its verdict."""
    lines = list(struct.iter_unpack("=HBBI", program))
    data, accumulator, at = {0: number, 4: architecture}, 0, 0
    for place in range(6):
        argument = arguments[place] if place < len(arguments) else 0
        data |= {16 + 8 * place: argument & 0xFFFFFFFF, 20 + 8 * place: argument >> 32}
    while True:
        code, if_true, if_false, value = lines[at]
        at += 1
        if code == 0x20:
            accumulator = data[value]
        elif code == 0x06:
            return value
        elif code == 0x05:
            at += value
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


IGNORE = 0x00050000


def test_without_namespaces_more_is_refused() -> None:
    for machine, architecture, numbers in (
        ("x86_64", X86, {"socket": 41, "chmod": 90, "pair": 53, "limit": 302, "times": 280}),
        ("aarch64", ARM, {"socket": 198, "chmod": 53, "pair": 199, "limit": 261, "times": 88}),
    ):
        program = filter_program(machine, namespaces=False)
        assert program is not None

        def verdict(
            name: str,
            *arguments: int,
            program: bytes = program,
            architecture: int = architecture,
            numbers: dict[str, int] = numbers,
        ) -> int:
            return interpret(program, numbers[name], architecture, *arguments)

        assert {verdict("socket", family) for family in range(50)} == {REFUSE}
        assert verdict("chmod") == IGNORE
        assert verdict("limit", 0) == ALLOW
        assert verdict("limit", 1) == REFUSE
        assert verdict("times", 3, 0) == ALLOW
        assert verdict("times", 3, 0x7F0000000000) == REFUSE
        assert verdict("times", 3, 0x10) == REFUSE
        pairs = {kind for kind in range(1 << 20) if kind & 0x7F7F0 == 0}
        passing = {kind for kind in pairs if verdict("pair", 1, kind) == ALLOW}
        assert passing == {0o1, 0o4001, 0o2000001, 0o2004001}
        assert verdict("pair", 2, 1) == REFUSE


def test_a_session_in_namespaces_may_change_modes() -> None:
    program = filter_program("x86_64")
    assert program is not None
    assert interpret(program, 90, X86) == interpret(program, 141, X86) == ALLOW
