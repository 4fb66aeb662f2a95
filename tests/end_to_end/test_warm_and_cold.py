"""A training step made by a process of its own has the bytes that a run's warm worker wrote."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from components.execution.request import read_request
from tests.end_to_end.command_line import Home
from tests.end_to_end.conftest import CiRun

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

EXECUTE = (sys.executable, "-P", "-m", "components.execution.execute")


def worker_of(home: Home, step: str) -> int:
    return (home.attempts(step)[-1].record("progress") or {})["pid"]


def test_rl_in_a_cold_process_equals_rl_in_a_worker_that_did_other_steps(
    ci: CiRun, ci_copy: Home
) -> None:
    assert worker_of(ci.home, "agent") == worker_of(ci.home, "corpus")
    warm, store = ci_copy.manifest("agent"), ci_copy.store
    store.objects.delete(f"artifacts/{warm.stage}/{warm.key}/manifest.json")
    attempt = store.new_attempt(warm.stage, warm.key)
    earlier = read_request(str(ci_copy.attempts("agent")[0].path / "request.json"))
    place = {"store": str(ci_copy.path / "store"), "home": ci_copy.path}
    request = earlier.model_copy(update={"attempt": attempt.number, **place})
    Path(request.uri).write_text(request.model_dump_json(), "utf-8")
    ci_copy.strata(request.uri, program=EXECUTE)
    cold = ci_copy.manifest("agent")
    assert (cold.attempt, cold.digest) == (warm.attempt + 1, warm.digest)
    assert worker_of(ci_copy, "agent") != worker_of(ci.home, "agent")
