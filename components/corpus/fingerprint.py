"""What files hold, without reading them again: SHA-256 cached by size, time and inode."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from components.corpus.debian import write_atomically


def combined_sha256(files: Iterable[tuple[str, Path]], cache: Path) -> str:
    """Return one SHA-256 over the names and contents of files; locations do not enter.

    `files` are (name, path) pairs; `cache` is a JSON file that may be lost.
    """
    known: dict[str, str] = json.loads(cache.read_text(encoding="utf-8")) if cache.is_file() else {}
    now: dict[str, str] = {}
    whole = hashlib.sha256()
    for name, path in sorted(files):
        status = path.stat()
        mark = f"{status.st_size}:{status.st_mtime_ns}:{status.st_dev}:{status.st_ino}"
        now[mark] = known.get(mark) or _sha256(path)
        whole.update(f"{len(name)}:{name}:{now[mark]}\n".encode())
    if now != known:
        write_atomically(cache, json.dumps(now))
    return whole.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
