"""The manifest: what an artifact is, what it was made of, and how it came about.

It is written last and created only once; without it the artifact does not exist. `digest` runs
over the content files alone, so that two machines that made the same bytes agree on it whatever
else differs.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from components.artifacts.identity import canonical_json, sha256_text

MANIFEST_FORMAT = 1
_CHUNK = 1 << 20


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class FileRecord(_Record):
    """Name one content file, relative to the artifact."""

    path: str
    bytes: int
    sha256: str


class InputRecord(_Record):
    """Name one input and the content it had; a list of inputs repeats the name."""

    name: str
    stage: str
    step: str
    key: str
    digest: str


class Manifest(_Record):
    """Describe a committed artifact."""

    format: int = MANIFEST_FORMAT
    stage: str
    step: str
    key: str
    digest: str
    """SHA-256 over path, size and SHA-256 of every content file."""
    facts: dict[str, Any]
    config: dict[str, Any]
    inputs: tuple[InputRecord, ...]
    code_digest: str
    code_modules: dict[str, str]
    packages: dict[str, str]
    revisions: dict[str, str]
    numerics: dict[str, Any]
    """Device, precision, threads, ranks, micro-batch and torch build: equal bits are promised
    within one of these.
    """
    seed: int | None
    files: tuple[FileRecord, ...]
    attempt: int
    fence: int
    run: str
    host: str
    started: float
    """UNIX seconds."""
    ended: float
    exceptions: tuple[str, ...] = ()
    """What the user accepted for this artifact, such as stale code."""

    @property
    def seconds(self) -> float:
        """Wall time of the attempt that made the artifact."""
        return self.ended - self.started

    @property
    def bytes(self) -> int:
        """Size of all content files."""
        return sum(file.bytes for file in self.files)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def list_files(directory: Path) -> tuple[FileRecord, ...]:
    """Record every file under `directory`, sorted by path; symbolic links are refused by
    ValueError.
    """
    records: list[FileRecord] = []
    for path in sorted(directory.rglob("*")):
        if path.is_symlink():
            raise ValueError(f"{path} is a symbolic link; an artifact holds plain files only")
        if path.is_file():
            name = path.relative_to(directory).as_posix()
            records.append(
                FileRecord(path=name, bytes=path.stat().st_size, sha256=file_sha256(path))
            )
    return tuple(sorted(records, key=lambda record: record.path))


def content_digest(files: tuple[FileRecord, ...]) -> str:
    """Compute the content digest of an artifact from its file records."""
    return sha256_text(canonical_json([[file.path, file.bytes, file.sha256] for file in files]))
