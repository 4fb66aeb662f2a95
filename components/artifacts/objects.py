"""The seam between artifacts and where their bytes lie: a local directory, or a bucket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from components.artifacts.manifest import FileRecord


class ObjectStore(Protocol):
    """Keep named bytes; a name is a relative path with `/`.

    Stages work on local files. `directory` says where they write, `publish` puts that into the
    store, and `fetch` brings what the store holds. The two places differ where the store is remote,
    so that a reader on the same machine never writes over what an attempt is writing. A store that
    is a directory of this machine has nothing to bring.
    """

    @property
    def uri(self) -> str:
        """Name the store as settings and requests do: a directory or `s3://bucket/prefix`."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return the bytes under `name`, or None."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Put bytes under `name` atomically, replacing what was there."""
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Put bytes under `name` unless it exists; of racing writers exactly one gets True."""
        ...

    def names(self, prefix: str) -> Iterator[str]:
        """Yield the names directly under `prefix`, sorted."""
        ...

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the bytes of every object under `prefix`, however deep, by name relative to it."""
        ...

    def presigned_url(self, name: str, seconds: int) -> str:
        """Return a URL by which anyone may read `name` for so long; empty where there is none."""
        ...

    def delete(self, name: str) -> None:
        """Remove `name`, if it is there, and everything under it."""
        ...

    def directory(self, name: str) -> Path:
        """Return the local directory for what is under `name`; it is made, and may be empty."""
        ...

    def publish(self, name: str) -> None:
        """Put every file under `directory(name)` into the store, durably; files that are there
        with equal bytes are passed over, so an interrupted call goes on where it was.
        """
        ...

    def fetch(self, name: str, files: Sequence[FileRecord] | None = None) -> Path:
        """Bring what is under `name`, or the object of that name, and return its local path.

        With `files` it brings these alone, checks the sha256 of each file it brings, and raises
        NotFound for one that is missing or has other bytes.
        """
        ...
