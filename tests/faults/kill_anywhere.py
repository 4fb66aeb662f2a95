"""R1: `kill -9` at random moments of a whole run; the same command goes on each time.

Struck are the command, one process that carries a step out, or everything at once. Kills are spread
over one run, and over further ones from empty homes until there were enough. Each must end with the
digests of an undisturbed run.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.end_to_end.command_line import Command, Home
from tests.faults.figure import Figure

NANO = (
    "commonsense.tokens=12288", "stem.tokens=12288", "long_context.tokens=12288",
    "tasks.counts.midtrain=400", "tasks.counts.sft=120", "tasks.counts.rl=60",
    "tasks.counts.dev=40", "tasks.counts.test=40",
    "trajectories.midtrain=600", "trajectories.sft=120",
    "agentic_base.tokens=60000", "assistant.epochs=1", "agent.steps=2", "agent.groups_per_step=4",
    *(
        f"{scores}.{what}={count}"
        for scores in ("text_scores", "agent_scores")
        for what, count in {
            "episodes": 8, "sampled_episodes": 8, "multiple_choice": 20, "function_call": 20,
            "planning": 20,
        }.items()
    ),
    "agent_scores.recovery=4",
)  # fmt: skip
"""Every step of `ci` with less to do: a minute."""
TARGETS = ("the command", "a step", "everything")
MEAN_SECONDS = 13.0
"""Between two kills, drawn from an exponential distribution: each moment is as likely as any other,
and now and then there is time for a step that has no resume points."""
TOLD_EACH = 10


def measure(
    n: int, seed: int, place: Path, overrides: tuple[str, ...] = ("resources.default.threads=1",)
) -> Figure:
    """Kill `n` times in runs of `ci`, changed by `overrides`."""
    draws = random.Random(seed)
    resume = ("resources.default.resume_seconds=0.5", *overrides)
    asked = ("run", "ci", "--json", *(part for each in resume for part in ("--set", each)))
    undisturbed = new_home(place, "undisturbed")
    undisturbed.strata(*asked)
    wanted = undisturbed.digests()
    kills, runs, differing, left, by_hand = 0, 0, 0, 0, 0
    struck: dict[str, int] = dict.fromkeys(TARGETS, 0)
    while kills < n:
        runs += 1
        home = new_home(place, f"disturbed-{runs}")
        command = home.start(*asked)
        while kills < n:
            if ended_within(command, draws.expovariate(1 / MEAN_SECONDS)):
                if command.process.returncode == 0:
                    break
                command = home.start(*asked)  # one step was killed more often than it is tried
                continue
            target = draws.choice(TARGETS)
            kills += 1
            struck[target] += 1
            if kills % TOLD_EACH == 0:
                print(f"R1: {kills} of {n} kills, run {runs}", file=sys.stderr, flush=True)
            strike(home, command, target)
            if target != "a step":  # that one is tried again by the command itself
                command.process.wait(120)
                left += not vanished(home)
                command = home.start(*asked)
        answer = command.wait(1500)
        if answer.code:  # the last blow was one more than its step is tried
            answer = home.start(*asked).wait(1500)
        by_hand += answer.code != 0
        found = home.digests()
        apart = [step for step in wanted if found.get(step) != wanted[step]]
        differing += bool(apart)
        if apart:
            print(f"R1: run {runs} differs in {', '.join(apart)}", file=sys.stderr, flush=True)
    return Figure(
        row="R1",
        goal="kill -9 at random points of a whole run: digests equal to the undisturbed run, no "
        "manual step",
        n=n,
        figure=f"{differing} of {runs} runs differ, {by_hand} did not end by the same command, "
        f"processes left after {left} kills; struck: {struck}",
        holds=differing == by_hand == left == 0,
    )


def new_home(place: Path, name: str) -> Home:
    """Return an empty home; what runs for it can tell its temporary files from others'."""
    temporary = place / f"{name}-temporary"
    temporary.mkdir(parents=True)
    temporary.chmod(0o755)
    return Home(place / name / "home", temporary)


def ended_within(command: Command, seconds: float) -> bool:
    """Return whether a command comes to its own end within a time."""
    try:
        command.process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def strike(home: Home, command: Command, target: str) -> None:
    """Kill the command, what carries its steps out, or everything that lives for a home."""
    if target == "the command":
        command.process.kill()
        return
    for process, arguments in home.processes().items():
        if target == "everything" or "components.execution" in arguments:
            with contextlib.suppress(ProcessLookupError):  # the first ones take others along
                os.kill(process, signal.SIGKILL)


def vanished(home: Home) -> bool:
    """Wait until nothing lives for a home; False after half a minute."""
    deadline = time.monotonic() + 30
    while home.processes():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
