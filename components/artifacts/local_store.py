"""The object store of one machine: objects are files under a directory."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.artifacts.manifest import FileRecord


class LocalStore:
    """Keep objects as files under one directory; every write is fsynced before its name appears."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def uri(self) -> str:
        return str(self.root.absolute())

    def read(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def write(self, name: str, data: bytes) -> None:
        temporary = self._temporary(name, data)
        temporary.replace(self.root / name)

    def create(self, name: str, data: bytes) -> bool:
        temporary = self._temporary(name, data)
        try:
            os.link(temporary, self.root / name)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        sync((self.root / name).parent)
        return True

    def names(self, prefix: str) -> Iterator[str]:
        try:
            yield from sorted(entry.name for entry in os.scandir(self.root / prefix))
        except (FileNotFoundError, NotADirectoryError):
            return

    def presigned_url(self, name: str, seconds: int) -> str:
        """Return nothing: a directory is behind no server."""
        return ""

    def delete(self, name: str) -> None:
        target = self.root / name
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    def directory(self, name: str) -> Path:
        target = self.root / name
        target.mkdir(parents=True, exist_ok=True)
        return target

    def sizes(self, prefix: str) -> dict[str, int]:
        root = self.root / prefix
        found = sorted(path for path in root.rglob("*") if path.is_file())
        return {path.relative_to(root).as_posix(): path.stat().st_size for path in found}

    def publish(self, name: str) -> None:
        root = self.root / name
        for path in [root, *root.rglob("*")]:
            sync(path)

    def fetch(self, name: str, files: Sequence[FileRecord] | None = None) -> Path:
        """Return the directory itself; callers compare its files with their manifest."""
        del files
        return self.root / name

    def _temporary(self, name: str, data: bytes) -> Path:
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{time.monotonic_ns()}")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            temporary.unlink(missing_ok=True)
            error.filename = str(target)  # a failed write does not name its file
            raise
        return temporary


def sync(path: Path) -> None:
    """Make a file's bytes, or the names in a directory, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
