"""R2: a process that saves resume points is killed inside a save; resume points are damaged.

The same small state is saved over and over. After each `kill -9` the newest point must be one that
was whole: at least the last acknowledged one, every value as saved. A damaged newest point must be
set aside and the one before it taken.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import time
from functools import partial
from itertools import count
from pathlib import Path

import torch

from components.training.resume import ResumeWriter, newest_resume_point
from tests.components.training.sample_inputs import make_context
from tests.faults.figure import Figure
from tests.faults.forks import fork
from tests.processes import wait_until

VALUES = 50_000
SAID = struct.Struct("qq")
"""Steps of the last save that was begun and of the last one that was acknowledged."""
DAMAGES = 60
"""Bit flips, truncations and missing files, in turn."""


def measure(n: int, seed: int, place: Path) -> Figure:
    """Kill `n` times, damage 60 times."""
    draws = random.Random(seed)
    inside, torn, lost = kill_in_saves(n, draws, place / "kills")
    missed = sum(not found_damage(place / f"damage-{k}", k, draws) for k in range(DAMAGES))
    return Figure(
        row="R2",
        goal="kill -9 inside a save: no torn point accepted; 60 damages found, the older one used",
        n=n,
        figure=f"{torn} torn accepted, {lost} acknowledged lost ({inside} kills inside a save); "
        f"{DAMAGES - missed} of {DAMAGES} damages found",
        holds=torn == 0 and lost == 0 and missed == 0 and inside >= 0.9 * n,
    )


def kill_in_saves(n: int, draws: random.Random, place: Path) -> tuple[int, int, int]:
    """Return how many kills fell inside a save, accepted a torn point, lost an acknowledged one."""
    resume, said = place / "saver" / "resume", place / "said"
    reader = make_context(place / "reader", earlier=(resume,))
    said.write_bytes(SAID.pack(0, 0))
    inside = torn = lost = first = 0
    for _ in range(n):
        shutil.rmtree(place / "saver" / "files", ignore_errors=True)
        saver = fork(save_for_ever, place / "saver", said, first + 1)
        wait_until(partial(acknowledges, said, first))
        time.sleep(draws.uniform(0.0, 0.03))
        saver.kill()
        saver.join()
        begun, acknowledged = SAID.unpack(said.read_bytes())
        inside += begun > acknowledged
        point = newest_resume_point(reader)
        assert point is not None
        lost += point.step < acknowledged
        whole = point.values["step"] == point.step and (point.tensors["x"] == point.step).all()
        torn += not whole or any(resume.glob("*.corrupt"))
        first = point.step
    return inside, torn, lost


def acknowledges(said: Path, step: int) -> bool:
    """Tell whether a save after `step` is over."""
    return SAID.unpack(said.read_bytes())[1] > step


def save_for_ever(directory: Path, said: Path, first: int) -> None:
    """Save one point after another and write down when each save begins and when it is over."""
    torch.set_num_threads(1)
    context = make_context(directory)
    writer = ResumeWriter(context)
    file = os.open(said, os.O_WRONLY)
    for step in count(first):
        os.pwrite(file, SAID.pack(step, step - 1), 0)
        writer.save(step, [("x", torch.full((VALUES,), float(step)))], {"step": step})
        writer.wait()
        os.pwrite(file, SAID.pack(step, step), 0)


def found_damage(place: Path, number: int, draws: random.Random) -> bool:
    """Damage the newer of two points; tell whether it was set aside and the older one taken."""
    context = make_context(place)
    with ResumeWriter(context) as writer:
        for step in (1, 2):
            writer.save(step, [("x", torch.full((100,), float(step)))], {"step": step})
    newest = context.resume / "step-00000002"
    victim = draws.choice(sorted(newest.iterdir()))
    content = bytearray(victim.read_bytes())
    if number % 3 == 0:
        bit = draws.randrange(len(content) * 8)
        content[bit // 8] ^= 1 << bit % 8
        victim.write_bytes(content)
    elif number % 3 == 1:
        victim.write_bytes(content[: draws.randrange(len(content))])
    else:
        victim.unlink()
    point = newest_resume_point(context)
    aside = [path.name for path in context.resume.glob("*.corrupt")]
    return point is not None and point.step == 1 and aside == [f"{newest.name}.corrupt"]
