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
from components.training.resume import DTYPES, ResumeWriter, newest_resume_point
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


def test_training_goes_on_with_its_tensors_while_a_point_is_written(tmp_path: Path) -> None:
    """The copy is made before `save` returns, and serves the next point too."""
    context = make_context(tmp_path)
    live = torch.ones(1_000_000)
    with ResumeWriter(context) as writer:
        for step in (1, 2, 3):
            writer.save(step, [("x", live)], {"step": step})
            live += 1
    for step in (3, 2):
        point = newest_resume_point(context, at_most=step)
        assert point is not None
        assert point.values == {"step": step}
        assert (point.tensors["x"] == float(step)).all()


def save_in_vain(context: StageContext, last: str) -> None:
    """Save where nothing can be written, and do something else."""
    with ResumeWriter(context) as writer:
        writer.save(1, [("x", torch.zeros(1))], {})
        if last == "save":
            writer.save(2, [("x", torch.zeros(1))], {})
        elif last == "wait":
            writer.wait()
        elif last == "fail":
            raise KeyError("tells more")


def test_what_goes_wrong_while_writing_is_raised_at_the_next_chance(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    context.resume.write_text("in the way")
    for last in ("save", "wait", "leave"):
        with pytest.raises(OSError, match="resume"):
            save_in_vain(context, last)
    with pytest.raises(KeyError, match="tells more"):
        save_in_vain(context, "fail")


def test_a_full_disk_names_the_point_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    save_resume_point(context, 1, {"x": torch.ones(1)}, {})
    code = """
import resource, sys, torch
from pathlib import Path
from tests.components.training.sample_inputs import make_context
from tests.components.training.test_resume import save_resume_point
from dataclasses import replace
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
context = make_context(Path(sys.argv[1]))
context = replace(context, resume=Path(sys.argv[2]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    save_resume_point(context, 2, {"x": torch.zeros(1 << 20)}, {})
except OSError as error:
    print(error.filename)
"""
    argv = [sys.executable, "-c", code, str(tmp_path / "other"), str(context.resume)]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(context.resume / "unfinished-00000002")
    assert steps_in(context.resume) == ["step-00000001"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_library_reads_what_is_written_here(tmp_path: Path, dtype: torch.dtype) -> None:
    context = make_context(tmp_path)
    tensors = {"odd": torch.tensor([0, 1, 2]).to(dtype), "one": torch.ones((), dtype=dtype)}
    tensors |= {"empty": torch.ones(0, 3, dtype=dtype), "wide": torch.zeros(2, 2)}
    save_resume_point(context, 1, tensors, {})
    point = newest_resume_point(context)
    assert point is not None
    assert sorted(point.tensors) == sorted(tensors)
    for name, tensor in tensors.items():
        assert point.tensors[name].dtype == tensor.dtype
        assert torch.equal(point.tensors[name], tensor)
