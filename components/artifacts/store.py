"""The artifact store: the truth about what exists. Everything else (catalog, MLflow) can be
rebuilt from it.

    artifacts/<stage>/<key>/manifest.json              created once, last
    artifacts/<stage>/<key>/attempts/<n>/files/        content of attempt n
    artifacts/<stage>/<key>/attempts/<n>/              journal/ resume/ log.txt and the records
                                                       request.json result.json progress.json
    artifacts/<stage>/<key>/condemned/<time>.json      manifests of artifacts found damaged

Any number of attempts may race: one manifest wins, and files of two attempts never mix. The
number of an attempt is its fence: creating its directory publishes it, and it only grows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic_core
from filelock import FileLock, Timeout
from pydantic import ValidationError

from components.artifacts.manifest import (
    MANIFEST_FORMAT,
    FileRecord,
    Manifest,
    content_digest,
    file_sha256,
)
from components.artifacts.objects import ObjectStore
from components.artifacts.open_objects import open_objects
from components.contract import BadInput, NotFound
from components.settings import Settings

LINK_SECONDS = 3600
"""Time for which the link of a file holds."""


@dataclass(frozen=True)
class Attempt:
    """Point at one attempt at a key.

    The process that carries it out writes to the directories `files`, `journal` and `resume` and to
    the file `log`; everybody else reads what the store holds with `record` and the `fetch` methods.
    """

    objects: ObjectStore
    stage: str
    key: str
    number: int

    @property
    def name(self) -> str:
        """Name of the attempt in the object store."""
        return attempt_name(self.stage, self.key, self.number)

    @property
    def path(self) -> Path:
        """Local directory of the attempt."""
        return self.objects.directory(self.name)

    @property
    def files(self) -> Path:
        """Directory of the content files."""
        return self.path / "files"

    @property
    def journal(self) -> Path:
        """Directory of the journal's segments."""
        return self.path / "journal"

    @property
    def resume(self) -> Path:
        """Directory of the resume points."""
        return self.path / "resume"

    @property
    def log(self) -> Path:
        """What the attempt printed."""
        return self.path / "log.txt"

    def record(self, name: str) -> dict[str, Any] | None:
        """Read `request`, `result` or `progress`; None where it was not written."""
        try:
            return pydantic_core.from_json(self.objects.read(f"{self.name}/{name}.json") or b"")
        except ValueError:
            return None

    def write_record(self, name: str, values: Mapping[str, Any]) -> None:
        """Write `request`, `result` or `progress`."""
        self.objects.write(f"{self.name}/{name}.json", json.dumps(values).encode())

    def journal_sizes(self) -> dict[str, int]:
        """Return the bytes of each segment of the journal in the store."""
        return self.objects.sizes(f"{self.name}/journal")

    def fetch_journal(self) -> Path:
        """Return a local directory with the journal as the store holds it."""
        return self.objects.fetch(f"{self.name}/journal")

    def fetch_log(self) -> Path:
        """Return a local file with what the attempt printed; it is not there before a line is."""
        return self.objects.fetch(f"{self.name}/log.txt")

    def has_resume_point(self) -> bool:
        """Return whether the store holds a resume point of it."""
        return any(self.objects.names(f"{self.name}/resume"))

    def fetch_resume(self) -> Path:
        """Return a local directory with its resume points."""
        return self.objects.fetch(f"{self.name}/resume")

    def published_at(self) -> float | None:
        """Return when its fence was published, in UNIX seconds."""
        fence = self.objects.read(f"{self.name}/fence")
        return float(fence) if fence else None


class ArtifactStore:
    """Lay artifacts and their attempts out in an object store."""

    def __init__(self, objects: ObjectStore, locks: Path) -> None:
        self.objects = objects
        self._locks = locks

    def manifest(self, stage: str, key: str) -> Manifest | None:
        """Return the manifest of an artifact, or None where it does not exist or is damaged.

        Raises BadInput for the manifest of another version of Strata.
        """
        data = self.objects.read(f"{_place(stage, key)}/manifest.json")
        return None if data is None else _parse(data, f"{_place(stage, key)}/manifest.json")

    def unreadable(self, stage: str, key: str) -> bool:
        """Return whether a manifest is there that cannot be read."""
        there = self.objects.read(f"{_place(stage, key)}/manifest.json") is not None
        return there and self.manifest(stage, key) is None

    def manifests(self) -> Iterator[Manifest]:
        """Yield every committed artifact, by stage and key."""
        for stage in self.objects.names("artifacts"):
            for key in self.objects.names(f"artifacts/{stage}"):
                manifest = self.manifest(stage, key)
                if manifest is not None:
                    yield manifest

    def keys(self) -> Iterator[tuple[str, str]]:
        """Yield stage and key of everything that was ever attempted."""
        for stage in self.objects.names("artifacts"):
            for key in self.objects.names(f"artifacts/{stage}"):
                yield stage, key

    def find(self, prefix: str) -> Manifest:
        """Return the one artifact whose key or digest begins with `prefix`.

        Raises NotFound where there is none and BadInput where there are several.
        """
        found = [
            m for m in self.manifests() if m.key.startswith(prefix) or m.digest.startswith(prefix)
        ]
        if not found:
            raise NotFound(f"no artifact has a key or digest that begins with {prefix}")
        if len(found) > 1:
            steps = ", ".join(f"{m.step} {m.key[:12]}" for m in found[:4])
            raise BadInput(f"{prefix} fits several artifacts ({steps}): give more digits")
        return found[0]

    def attempt(self, stage: str, key: str, number: int) -> Attempt:
        """Point at attempt `number`, whether or not it exists."""
        return Attempt(self.objects, stage, key, number)

    def attempts(self, stage: str, key: str) -> list[Attempt]:
        """List the attempts at a key, oldest first."""
        names = self.objects.names(f"{_place(stage, key)}/attempts")
        return [
            self.attempt(stage, key, n)
            for n in sorted(int(name) for name in names if name.isdigit())
        ]

    def new_attempt(self, stage: str, key: str) -> Attempt:
        """Publish the next attempt number at a key; two callers never get the same."""
        parent = f"{_place(stage, key)}/attempts"
        number = 1 + max(
            (int(name) for name in self.objects.names(parent) if name.isdigit()), default=0
        )
        while not self.objects.create(f"{parent}/{number}/fence", str(time.time()).encode()):
            number += 1
        return self.attempt(stage, key, number)

    def fence(self, stage: str, key: str) -> int:
        """Return the highest fence published at a key; 0 before the first attempt."""
        names = self.objects.names(f"{_place(stage, key)}/attempts")
        return max((int(name) for name in names if name.isdigit()), default=0)

    def commit(self, manifest: Manifest) -> bool:
        """Create the manifest; False where another attempt had committed before."""
        data = manifest.model_dump_json(indent=1).encode()
        return self.objects.create(f"{_place(manifest.stage, manifest.key)}/manifest.json", data)

    def address(self, manifest: Manifest) -> str:
        """Return where an artifact's content files lie: a directory, or the URI of a prefix."""
        return f"{self.objects.uri}/{_files(manifest)}"

    def files(self, manifest: Manifest) -> Path:
        """Return a local directory with an artifact's content files, fetched where need be."""
        return self.objects.fetch(_files(manifest), manifest.files)

    def read_file(self, manifest: Manifest, path: str) -> bytes | None:
        """Read one content file; None where the artifact has none of that name."""
        return self.objects.read(f"{_files(manifest)}/{path}")

    def file_url(self, manifest: Manifest, path: str, seconds: int = LINK_SECONDS) -> str:
        """Return a link by which anyone may read one content file for so long; empty where the
        store has none.
        """
        return self.objects.presigned_url(f"{_files(manifest)}/{path}", seconds)

    def missing(self, manifest: Manifest) -> list[str]:
        """Compare names and sizes with the manifest; return what differs, in words."""
        sizes = self.objects.sizes(_files(manifest))
        return [problem for file in manifest.files if (problem := _wrong_size(file, sizes))]

    def damaged(self, manifest: Manifest) -> list[str]:
        """Compare every byte with the manifest; return what differs, in words."""
        problems = self.missing(manifest)
        if problems:
            return problems
        try:
            files = self.files(manifest)
        except NotFound as error:
            return [str(error)]
        return [
            f"{file.path} has other bytes than its manifest says"
            for file in manifest.files
            if file_sha256(files / file.path) != file.sha256
        ]

    def condemn(self, manifest: Manifest) -> None:
        """Set a damaged artifact aside: its manifest moves to `condemned/`, so that it is made
        again.
        """
        with self.lock(manifest.key):
            current = self.manifest(manifest.stage, manifest.key)
            if current is not None and current.attempt == manifest.attempt:
                self._set_aside(manifest.stage, manifest.key)

    def condemn_unreadable(self, stage: str, key: str) -> None:
        """Set a manifest aside that cannot be read, so that the artifact is made again."""
        with self.lock(key):
            if self.unreadable(stage, key):
                self._set_aside(stage, key)

    def _set_aside(self, stage: str, key: str) -> None:
        place = _place(stage, key)
        data = self.objects.read(f"{place}/manifest.json") or b""
        self.objects.write(f"{place}/condemned/{time.time_ns()}.json", data)
        self.objects.delete(f"{place}/manifest.json")

    @contextmanager
    def lock(self, key: str, *, timeout: float = -1) -> Generator[None]:
        """Hold the lock of a key on this machine; re-entrant within a process, released when the
        process dies.

        Raises TimeoutError after `timeout` seconds (negative waits for ever).

        """
        self._locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._locks / f"{key}.lock", is_singleton=True, thread_local=False)
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            raise TimeoutError(f"another process is making the artifact {key[:12]}") from None
        try:
            yield
        finally:
            lock.release()


def open_store(settings: Settings) -> ArtifactStore:
    """Open the artifact store that the settings name, without creating anything."""
    return ArtifactStore(open_objects(settings.store_uri, settings), settings.home / "locks")


def attempt_name(stage: str, key: str, number: int) -> str:
    """Return the name under which an object store holds an attempt."""
    return f"{_place(stage, key)}/attempts/{number}"


def _place(stage: str, key: str) -> str:
    return f"artifacts/{stage}/{key}"


def _parse(data: bytes, name: str) -> Manifest | None:
    """Read a manifest; None where it is damaged: no JSON, fields missing, or another digest than
    that of its own list of files.
    """
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError:
        return _refuse_other_format(data, name)
    return manifest if manifest.digest == content_digest(manifest.files) else None


def _refuse_other_format(data: bytes, name: str) -> None:
    try:
        found = pydantic_core.from_json(data)["format"]
    except (ValueError, TypeError, KeyError):
        return
    if isinstance(found, int) and found > MANIFEST_FORMAT:
        raise BadInput(
            f"{name} has format {found}, this version of Strata reads {MANIFEST_FORMAT}.\n"
            "Use the version that wrote it, or another STRATA_HOME."
        )


def _files(manifest: Manifest) -> str:
    return f"{attempt_name(manifest.stage, manifest.key, manifest.attempt)}/files"


def _wrong_size(file: FileRecord, sizes: Mapping[str, int]) -> str | None:
    size = sizes.get(file.path)
    if size is None:
        return f"{file.path} is missing"
    return None if size == file.bytes else f"{file.path} has {size} bytes instead of {file.bytes}"
