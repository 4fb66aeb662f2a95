"""A `ci` run that is killed in every kind of stage, and stopped once, ends as an undisturbed one.

One run from an empty home is interrupted at random places of six steps. The same command goes on
each time, and the tests look at what was found after each interruption and at the end. The places
follow from a seed that is printed; STRATA_TEST_SEED repeats one.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from components.artifacts.store import Attempt
from components.tracking.journal import read_journal
from tests.end_to_end.command_line import Answer, Command, Home, share_done
from tests.end_to_end.conftest import CiRun

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

SEED = int(os.environ.get("STRATA_TEST_SEED") or secrets.randbits(32))  # before the homes' fixture
COMMAND = ("run", "ci", "--json", "--set", "resources.default.resume_seconds=0.2")
"""The steps of `ci` take seconds: with a minute between resume points there would be none."""
BLOWS = {
    "commonsense": "kill the command",
    "trajectories": "kill its process group",
    "agentic_base": "stop the command",
    "assistant": "kill its process group",
    "agent": "kill everything",
    "scores.assistant": "kill the command",
}
"""Where the run is interrupted, and how. Workers and servers are in sessions of their own: a killed
group does not hold them, `everything` does."""
TRAINED = {"commonsense", "agentic_base", "assistant", "agent"}
"""Steps that keep resume points; the others start over."""


@dataclass(frozen=True)
class Interruption:
    """Say what one interruption hit and what was found after it."""

    step: str
    run_id: str
    attempt: int
    code: int
    seconds_to_end: float
    seconds_to_vanish: float
    made: bool
    """Whether the step's artifact existed, so that the blow came too late for it."""
    resume_step: int | None
    """Newest resume point of the step's attempts."""


@dataclass(frozen=True)
class Disturbed:
    """Hold the run that was interrupted again and again, and its last command's answer."""

    home: Home
    interruptions: dict[str, Interruption]
    answer: Answer


def newest_point(attempts: list[Attempt]) -> int | None:
    points = [path for attempt in attempts for path in attempt.resume.glob("step-????????")]
    return max((int(path.name.removeprefix("step-")) for path in points), default=None)


def reached(home: Home, step: str, share: float) -> bool:
    """Tell whether a step has done this share of its work, and has something to resume from."""
    attempts = home.attempts(step)
    if not attempts or share_done(attempts[-1]) < share:
        return False
    return step not in TRAINED or (newest_point(attempts) or 0) > 0


def wait_for_one_of(home: Home, shares: dict[str, float], command: Command) -> str:
    """Return the first step that reached its share; fails where the command ends before."""
    while command.process.poll() is None:
        running = [name for name, step in home.steps().items() if step.state == "running"]
        for step in running:
            if step in shares and reached(home, step, shares[step]):
                return step
        time.sleep(0.02)
    talk = command.wait(0).talk
    raise AssertionError(f"seed {SEED}: ended without passing {list(shares)}:\n{talk[-4000:]}")


def strike(home: Home, how: str, command: Command) -> None:
    if how == "stop the command":
        command.process.terminate()
    elif how == "kill the command":
        command.process.kill()
    elif how == "kill its process group":
        os.killpg(command.process.pid, signal.SIGKILL)
    else:
        for process in home.processes():
            with contextlib.suppress(ProcessLookupError):  # the first ones take others along
                os.kill(process, signal.SIGKILL)


def interrupt(home: Home, step: str, command: Command) -> Interruption:
    """Strike, and look at what is left."""
    struck = time.monotonic()
    strike(home, BLOWS[step], command)
    code = command.process.wait(300)
    ended = time.monotonic()
    while (left := home.processes()) and time.monotonic() < ended + 30:
        time.sleep(0.1)
    assert not left, f"{step} was interrupted and these live on: {left}"
    attempts, record = home.attempts(step), home.run
    state = record.steps[step]
    return Interruption(
        step=step,
        run_id=record.id,
        attempt=attempts[-1].number,
        code=code,
        seconds_to_end=ended - struck,
        seconds_to_vanish=time.monotonic() - ended,
        made=home.store.manifest(state.stage, state.key or "") is not None,
        resume_step=newest_point(attempts),
    )


@pytest.fixture(scope="module")
def disturbed(new_home: Callable[[], Home]) -> Disturbed:
    print(f"STRATA_TEST_SEED={SEED}")
    draws = random.Random(SEED)
    shares = {step: draws.uniform(0.15, 0.7) for step in BLOWS}
    home = new_home()
    found: dict[str, Interruption] = {}
    while shares:
        command = home.start(*COMMAND)
        try:
            step = wait_for_one_of(home, shares, command)
            time.sleep(draws.uniform(0.0, 0.1))  # into a save, an update, a write
            found[step] = interrupt(home, step, command)
        finally:
            command.end()
        print(f"at {shares.pop(step):.2f}: {found[step]}")
    return Disturbed(home, found, home.strata(*COMMAND))


def test_every_step_was_hit_inside(disturbed: Disturbed) -> None:
    assert [step for step, hit in disturbed.interruptions.items() if hit.made] == []


def test_no_process_is_left_after_a_kill(disturbed: Disturbed) -> None:
    late = {s: i.seconds_to_vanish for s, i in disturbed.interruptions.items()}
    assert max(late.values()) < 10, late
    assert disturbed.home.processes() == {}


def test_what_killed_commands_left_among_the_temporary_files_is_removed(
    disturbed: Disturbed,
) -> None:
    assert list(disturbed.home.temporary.glob("*strata*")) == []


def test_the_same_command_goes_on_under_the_same_id(disturbed: Disturbed) -> None:
    ids = {hit.run_id for hit in disturbed.interruptions.values()}
    assert ids == {disturbed.answer.last_line["run_id"]}
    assert len(list(disturbed.home.store.objects.names("runs"))) == 1
    assert disturbed.home.run.state == "done"


def test_every_artifact_equals_the_undisturbed_one_bit_for_bit(
    ci: CiRun, disturbed: Disturbed
) -> None:
    undisturbed = ci.home.digests()
    differing = {
        step: (digest, undisturbed[step])
        for step, digest in disturbed.home.digests().items()
        if digest != undisturbed[step]
    }
    assert differing == {}, f"seed {SEED}"
    assert len(undisturbed) == len(disturbed.home.run.steps)
    assert disturbed.answer.last_line["final_digest"] == ci.answer.last_line["final_digest"]
    assert disturbed.answer.last_line["scores"] == ci.answer.last_line["scores"]


@pytest.mark.parametrize("step", sorted(TRAINED))
def test_training_resumes_where_it_had_saved(disturbed: Disturbed, step: str) -> None:
    hit = disturbed.interruptions[step]
    after = disturbed.home.attempts(step)[hit.attempt]  # numbers count from 1: the next one
    records = list(read_journal(after.journal))
    resumed = [record["step"] for record in records if record.get("name") == "resumed"]
    assert resumed == [hit.resume_step], f"seed {SEED}: {hit}"
    trained = [record["step"] for record in records if record["kind"] == "metric"]
    assert trained[0] == resumed[0] + 1 > 1


def test_a_stopped_command_saves_and_ends_in_time(disturbed: Disturbed) -> None:
    (step,) = [step for step, how in BLOWS.items() if how == "stop the command"]
    stopped = disturbed.interruptions[step]
    assert stopped.code == 143, stopped
    assert stopped.seconds_to_end < 20, stopped
    attempt = disturbed.home.attempts(stopped.step)[stopped.attempt - 1]
    assert (attempt.record("result") or {})["code"] == 143
    last = [r["step"] for r in read_journal(attempt.journal) if r["kind"] == "metric"][-1]
    assert stopped.resume_step == last, "the step it was stopped after is saved"
