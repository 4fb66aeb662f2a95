from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from components.contract import BadInput
from components.execution.exit_codes import ExitCode, disk_is_full, exit_code, machine_fault


def system_error(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_fault_of_the_machine_names_the_path_and_is_not_tried_again(number):
    error = system_error(number, "/home/store/run.json")
    assert exit_code(error) is ExitCode.ENVIRONMENT
    what, fix = str(machine_fault(error)).splitlines()
    assert what.endswith(": /home/store/run.json")
    assert fix.endswith(".")
    assert (" bytes are free there. " in fix) == (number in {errno.ENOSPC, errno.EDQUOT})


def test_the_place_stands_in_for_a_file_that_is_not_named():
    assert "/attempts/1" in str(machine_fault(system_error(errno.ENOSPC), Path("/attempts/1")))


def test_a_library_that_keeps_only_the_words_is_understood():
    error = RuntimeError("I/O error: No space left on device (os error 28)")
    assert disk_is_full(error)
    assert exit_code(error) is ExitCode.ENVIRONMENT


def test_other_errors_are_no_fault_of_the_machine():
    assert machine_fault(system_error(errno.ENOENT)) is None
    assert exit_code(system_error(errno.ENOENT)) is ExitCode.FAILED
    assert exit_code(BadInput("x")) is ExitCode.BAD_INPUT
