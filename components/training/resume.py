"""Resume points: everything needed to go on, written so that a crash at any moment leaves the last
one whole.

A point is a directory `step-<number>`: tensors in safetensors, the rest in JSON, and a manifest
with the sha256 of both. It is written under another name, synced, and renamed. Readers take the
newest that verifies and set a bad one aside as `*.corrupt`. Nothing here is pickled: a resume point
can be read from a store that others write to.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from components.contract import StageContext
from components.training.parallel import broadcast_text

TENSORS, VALUES, MANIFEST = "tensors.safetensors", "values.json", "manifest.json"
KEPT = 2
"""Newest points that stay on disk; so many anchors stay as well."""


@dataclass(frozen=True)
class ResumePoint:
    """Hold named tensors and JSON values, and the number of steps done when they were saved."""

    step: int
    tensors: Mapping[str, torch.Tensor]
    values: Mapping[str, Any]

    def under(self, prefix: str) -> dict[str, torch.Tensor]:
        """Return the tensors whose names begin with `prefix`, without it."""
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }


def save_resume_point(
    context: StageContext,
    step: int,
    tensors: Mapping[str, torch.Tensor],
    values: Mapping[str, Any],
    *,
    anchor_every: int = 0,
) -> Path:
    """Write the state after `step` steps; only the newest points stay.

    Points at multiples of `anchor_every` are anchors, which a rollback goes back to. Call it on
    one rank.
    """
    final = context.resume / f"step-{step:08d}"
    if final.exists():
        return final
    unfinished = context.resume / f"unfinished-{step:08d}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    save_file(stored, unfinished / TENSORS)
    (unfinished / VALUES).write_text(json.dumps(dict(values)), encoding="utf-8")
    (unfinished / MANIFEST).write_text(_manifest(unfinished, step))
    for name in (TENSORS, VALUES, MANIFEST):
        _sync(unfinished / name)
    _sync(unfinished)
    unfinished.rename(final)
    _sync(context.resume)
    _prune(context.resume, anchor_every)
    return final


def newest_resume_point(
    context: StageContext, *, at_most: int | None = None, multiple_of: int = 1
) -> ResumePoint | None:
    """Return the newest point that verifies, of this attempt or an earlier one; None without any.

    `at_most` and `multiple_of` restrict the step. All ranks get the same: rank 0 verifies and
    names it.
    """
    chosen = ""
    if context.rank == 0:
        for path in _points(context):
            step = _step(path)
            wanted = (at_most is None or step <= at_most) and step % multiple_of == 0
            if wanted and _verified(path):
                chosen = str(path)
                break
    chosen = broadcast_text(chosen, context)
    if not chosen:
        return None
    path = Path(chosen)
    values = json.loads((path / VALUES).read_text(encoding="utf-8"))
    return ResumePoint(_step(path), load_file(path / TENSORS), values)


def _points(context: StageContext) -> list[Path]:
    """Return all points, highest step first and this attempt before earlier ones."""
    found: list[Path] = []
    for directory in (context.resume, *context.earlier_resumes):
        found += sorted(path for path in directory.glob("step-*") if not path.suffix)
    return sorted(found, key=_step, reverse=True)


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _verified(path: Path) -> bool:
    """Check a point against its manifest; a bad one gets the ending `.corrupt`."""
    try:
        if (path / MANIFEST).read_text(encoding="utf-8") == _manifest(path, _step(path)):
            return True
    except (OSError, ValueError):
        # A file that is missing or unreadable means what a wrong digest means.
        pass
    aside = path.with_name(f"{path.name}.corrupt")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)
    return False


def _manifest(directory: Path, step: int) -> str:
    digests = {name: _sha256(directory / name) for name in (TENSORS, VALUES)}
    return json.dumps({"step": step, "sha256": digests})


def _prune(directory: Path, anchor_every: int) -> None:
    points = sorted((path for path in directory.glob("step-*") if not path.suffix), key=_step)
    anchors = [path for path in points if anchor_every and _step(path) % anchor_every == 0]
    for path in set(points) - set(points[-KEPT:]) - set(anchors[-KEPT:]):
        shutil.rmtree(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
