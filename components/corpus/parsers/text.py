"""Plain text and fortune files: one document a file, or one a saying."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from components.corpus.document import Document, in_hash_order

FILES = ("**/*.txt", "**/*.txt.gz")
FORTUNES = ("usr/share/games/fortunes/*",)
_OVERSTRUCK = re.compile(".\b")


def read(root: Path, paths: list[Path], seed: int) -> Iterator[Document]:
    """Yield one document a file, in hash order."""
    for path in in_hash_order(paths, lambda path: path.relative_to(root).as_posix(), seed):
        yield Document(_text(path), path.name.split(".")[0])


def read_fortunes(root: Path, paths: list[Path], seed: int) -> Iterator[Document]:
    """Yield one document a saying, in hash order; sayings are separated by a line with `%`."""
    files = [path for path in sorted(paths) if not path.suffix]  # .dat is an index, .u8 a link
    found = [saying for path in files for saying in _text(path).split("\n%\n")]
    for saying in in_hash_order(dict.fromkeys(found), str, seed):
        if saying.strip():
            yield Document(_OVERSTRUCK.sub("", saying).strip())


def _text(path: Path) -> str:
    data = path.read_bytes()
    plain = gzip.decompress(data) if path.suffix == ".gz" else data
    return plain.decode("utf-8", errors="replace")
