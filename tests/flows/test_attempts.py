from __future__ import annotations

import signal

import pytest

from flows.attempts import Interrupted


@pytest.mark.parametrize(("stopped_by", "code"), [(0, 130), (signal.SIGINT, 130), (15, 143)])
def test_a_stop_ends_with_the_code_of_its_signal(stopped_by, code):
    assert Interrupted("stopped", stopped_by).exit_code == code
