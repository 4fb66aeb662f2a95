from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from components.contract import StageContext
from components.training.resume import ResumeWriter, newest_resume_point
from tests.components.training.sample_inputs import make_context


def save_resume_point(
    context: StageContext,
    step: int,
    tensors: dict[str, torch.Tensor],
    values: dict[str, Any],
    *,
    anchor_every: int = 0,
) -> Path:
    with ResumeWriter(context, anchor_every=anchor_every) as writer:
        writer.save(step, tensors.items(), values)
    return context.resume / f"step-{step:08d}"


def steps_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_point_returns_what_was_saved(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    assert newest_resume_point(context) is None
    tensors = {"a.x": torch.randn(3, 4).T, "b.y": torch.tensor([2**40])}
    save_resume_point(context, 5, tensors, {"loss": 1 / 3})
    point = newest_resume_point(context)
    assert point is not None
    assert point.step == 5
    assert point.values == {"loss": 1 / 3}
    assert torch.equal(point.tensors["a.x"], tensors["a.x"])
    assert torch.equal(point.tensors["b.y"], tensors["b.y"])


def test_the_newest_two_and_the_newest_anchors_stay(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    for step in (0, 3, 10, 12, 20, 21, 22, 23):
        save_resume_point(context, step, {"x": torch.zeros(1)}, {}, anchor_every=10)
    kept = ["step-00000010", "step-00000020", "step-00000022", "step-00000023"]
    assert steps_in(context.resume) == kept
    anchor = newest_resume_point(context, at_most=19, multiple_of=10)
    assert anchor is not None
    assert anchor.step == 10


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "manifest"])
def test_a_bad_point_is_set_aside_and_the_next_one_taken(tmp_path: Path, damage: str) -> None:
    context = make_context(tmp_path)
    save_resume_point(context, 1, {"x": torch.ones(1)}, {})
    newest = save_resume_point(context, 2, {"x": torch.ones(100)}, {})
    tensors = newest / "tensors.safetensors"
    content = bytearray(tensors.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
        tensors.write_bytes(content)
    elif damage == "truncate":
        tensors.write_bytes(content[:-7])
    elif damage == "remove":
        tensors.unlink()
    else:
        (newest / "manifest.json").write_text("{")
    point = newest_resume_point(context)
    assert point is not None
    assert point.step == 1
    assert steps_in(context.resume) == ["step-00000001", "step-00000002.corrupt"]


def test_points_of_earlier_attempts_are_found_newest_step_first(tmp_path: Path) -> None:
    old, middle = make_context(tmp_path / "1"), make_context(tmp_path / "2")
    save_resume_point(old, 30, {"x": torch.zeros(1)}, {"attempt": 1})
    save_resume_point(middle, 20, {"x": torch.zeros(1)}, {"attempt": 2})
    context = make_context(tmp_path / "3", earlier=(middle.resume, old.resume))
    point = newest_resume_point(context)
    assert point is not None
    assert (point.step, point.values) == (30, {"attempt": 1})
    save_resume_point(middle, 30, {"x": torch.zeros(1)}, {"attempt": 2})
    point = newest_resume_point(context)
    assert point is not None
    assert point.values == {"attempt": 2}


SAVE_FOR_EVER = """
import sys, torch
from pathlib import Path
from tests.components.training.sample_inputs import make_context
from tests.components.training.test_resume import save_resume_point
context = make_context(Path(sys.argv[1]))
for step in range(1, 10**6):
    save_resume_point(context, step, {"x": torch.full((200_000,), float(step))}, {"step": step})
    print(step, flush=True)
"""


def test_killed_in_the_middle_of_a_save_the_last_point_is_whole(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SAVE_FOR_EVER, str(tmp_path / "a")], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    context = make_context(tmp_path / "b", earlier=(tmp_path / "a" / "resume",))
    process.stdout.readline()
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGKILL)
    lines = process.stdout.read().split()
    process.wait()
    acknowledged = int(lines[-1]) if lines else 1
    point = newest_resume_point(context)
    assert point is not None
    assert point.step >= acknowledged
    assert (point.tensors["x"] == float(point.step)).all()
    assert not list((tmp_path / "a" / "resume").glob("*.corrupt"))
