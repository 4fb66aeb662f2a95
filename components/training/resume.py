"""Resume points: everything needed to go on, written so that a crash at any moment leaves the last
one whole.

A point is a directory `step-<number>`: tensors in safetensors, the rest in JSON, and a manifest
with the sha256 of both. It is written under another name, synced, and renamed. Readers take the
newest that verifies and set a bad one aside as `*.corrupt`. Nothing here is pickled: a resume point
can be read from a store that others write to.

Training waits for a copy in memory only; a thread writes the copy. The file is written here and not
by the safetensors library, which holds the interpreter's lock while it writes, so that training
would wait all the same, and which would have the digest read the file once more.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors.torch import load_file

from components.artifacts.local_store import sync
from components.contract import StageContext
from components.training.parallel import from_first_rank, tensors_from_first_rank

TENSORS, VALUES, MANIFEST = "tensors.safetensors", "values.json", "manifest.json"
KEPT = 2
"""Newest points that stay on disk; so many anchors stay as well."""
PIECE = 1 << 22
"""Bytes hashed and written at a time."""
DTYPES = {
    torch.float32: "F32",
    torch.float64: "F64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""How safetensors calls what a resume point may hold."""


@dataclass(frozen=True)
class ResumePoint:
    """Hold named tensors and JSON values, and the number of steps done when they were saved."""

    step: int
    tensors: Mapping[str, torch.Tensor]
    values: Mapping[str, Any]


class ResumeWriter:
    """Save resume points while training goes on; one is written at a time. Used by one rank.

    The copy that is being written stays in memory between saves. What goes wrong while writing is
    raised by the next `save` or `wait`, and leaving the `with` block waits.
    """

    def __init__(self, context: StageContext, *, anchor_every: int = 0) -> None:
        """Points at multiples of `anchor_every` are anchors, which a rollback goes back to."""
        self.context = context
        self.anchor_every = anchor_every
        self._copy: dict[str, torch.Tensor] = {}
        self._thread = ThreadPoolExecutor(1, "resume-point")
        self._writing: Future[None] | None = None

    def save(
        self, step: int, tensors: Iterable[tuple[str, torch.Tensor]], values: Mapping[str, Any]
    ) -> None:
        """Copy the state after `step` steps and have it written; waits for the point before."""
        self.wait()
        named = dict(self._copied(tensors))
        content = json.dumps(dict(values))
        final = self.context.resume / f"step-{step:08d}"
        if not final.exists():
            self._writing = self._thread.submit(_write, final, named, content, self.anchor_every)

    def wait(self) -> None:
        """Return once nothing is being written; raises what went wrong."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def __enter__(self) -> ResumeWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown()
        if error is None:
            self.wait()

    def _copied(
        self, tensors: Iterable[tuple[str, torch.Tensor]]
    ) -> Iterable[tuple[str, torch.Tensor]]:
        """Copy tensors one by one into memory of their own, that of the point before if it fits."""
        moved = False
        for name, tensor in tensors:
            copy = self._copy.get(name)
            if copy is None or copy.shape != tensor.shape or copy.dtype != tensor.dtype:
                pinned = tensor.is_cuda
                copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=pinned)
                self._copy[name] = copy
            copy.copy_(tensor.detach(), non_blocking=True)
            moved |= tensor.is_cuda
            yield name, copy
        if moved:
            torch.cuda.synchronize()


def _write(
    final: Path, tensors: Mapping[str, torch.Tensor], values: str, anchor_every: int
) -> None:
    """Write a point under another name and rename it once it is safe; a failure leaves nothing."""
    unfinished = final.with_name(final.name.replace("step", "unfinished"))
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        digests = {
            TENSORS: _write_tensors(unfinished / TENSORS, tensors),
            VALUES: _write_synced(unfinished / VALUES, [values.encode()]),
        }
        manifest = {"step": _step(final), "sha256": digests}
        _write_synced(unfinished / MANIFEST, [json.dumps(manifest).encode()])
    except BaseException as error:
        shutil.rmtree(unfinished, ignore_errors=True)  # on a full disk it takes what is needed
        if isinstance(error, OSError):
            error.filename = error.filename or str(unfinished)  # a failed write names no file
        raise
    sync(unfinished)
    unfinished.rename(final)
    sync(final.parent)
    _prune(final.parent, anchor_every)


def _write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> str:
    """Write a safetensors file: length of the header, header, contents. Returns its sha256."""
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header: dict[str, Any] = {}
    at = 0
    for name, tensor in ordered:
        end = at + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [at, end],
        }
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    contents = (memoryview(_bytes(tensor)) for _, tensor in ordered)
    return _write_synced(path, [len(text).to_bytes(8, "little"), text, *contents])


def _bytes(tensor: torch.Tensor) -> Any:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy()


def _write_synced(path: Path, contents: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for piece in _pieces(contents):
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _pieces(contents: Iterable[bytes | memoryview]) -> Iterator[memoryview]:
    for content in map(memoryview, contents):
        yield from (content[at : at + PIECE] for at in range(0, len(content), PIECE))


def newest_resume_point(
    context: StageContext, *, at_most: int | None = None, multiple_of: int = 1
) -> ResumePoint | None:
    """Return the newest point that verifies, of this attempt or an earlier one; None without any.

    `at_most` and `multiple_of` restrict the step. Rank 0 reads it and passes it on to the others.
    """
    point = _read_newest(context, at_most, multiple_of) if context.rank == 0 else None
    about = from_first_rank(point and (point.step, point.values), context)
    if about is None:
        return None
    tensors = tensors_from_first_rank(point.tensors if point else {}, context)
    return ResumePoint(about[0], tensors, about[1])


def _read_newest(
    context: StageContext, at_most: int | None, multiple_of: int
) -> ResumePoint | None:
    for path in _points(context):
        step = _step(path)
        wanted = (at_most is None or step <= at_most) and step % multiple_of == 0
        if wanted and _verified(path):
            values = json.loads((path / VALUES).read_text(encoding="utf-8"))
            return ResumePoint(step, load_file(path / TENSORS), values)
    return None


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
