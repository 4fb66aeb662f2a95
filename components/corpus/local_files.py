"""Documents from local files, read record by record so that every fault has a file and a line.

Data engines name neither: they turn a column of numbers into strings in silence and give up on one
long line. Reading and checking is therefore ours; the data engine starts from what passed.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

from components.contract import BadInput, EnvironmentMissing
from components.corpus.config import LocalFiles
from components.corpus.document import Document, in_hash_order
from components.corpus.fingerprint import combined_sha256

KINDS = (".txt", ".md", ".jsonl", ".parquet")
PACKINGS = (".gz", ".zst")
_CHUNK = 1 << 20
_ROWS = 1024


def files(source: LocalFiles) -> list[tuple[str, Path]]:
    """Return (name, path) of each file; the name is relative to the directory that was given.

    Raises BadInput where a path names nothing, or nothing that can be read here.
    """
    found: dict[str, Path] = {}
    for given in source.paths:
        matches = _matches(given)
        if not matches:
            raise BadInput(
                f"{given}: no such file or directory.\n"
                "Correct corpus.sources.paths; globs such as data/*.jsonl are allowed."
            )
        for match in matches:
            inside = sorted(match.rglob("*")) if match.is_dir() else [match]
            top = match if match.is_dir() else match.parent
            wanted = [path for path in inside if kind(path) in KINDS or path == match]
            _refuse_broken_links(wanted)
            found |= {path.relative_to(top).as_posix(): path for path in wanted if path.is_file()}
    if not found:
        raise BadInput(
            f"{source.paths[0]}: the source is empty, no file ends in {', '.join(KINDS)}"
            f" (also with {', '.join(PACKINGS)}).\nCorrect corpus.sources.paths."
        )
    return sorted(found.items())


def _refuse_broken_links(paths: Iterable[Path]) -> None:
    """Raise BadInput for a link to nothing: text would be missing in silence."""
    for path in paths:
        if path.is_symlink() and not path.exists():
            raise BadInput(
                f"{path}: a link to {path.readlink()}, which is not there.\n"
                "Repair or remove the link."
            )


def _matches(given: str) -> list[Path]:
    path = Path(given)
    if path.exists() or not any(letter in given for letter in "*?["):
        return [path] if path.exists() else []
    fixed = list(takewhile(lambda part: not set(part) & set("*?["), path.parts))
    top = Path(*fixed)
    return sorted(top.glob(str(Path(*path.parts[len(fixed) :]))))


def kind(path: Path) -> str:
    """Return the suffix that says how a file is read, without the one of its packing."""
    suffixes = path.suffixes
    packed = bool(suffixes) and suffixes[-1] in PACKINGS
    return ("".join(suffixes[-2:-1]) if packed else path.suffix).lower()


def revision(source: LocalFiles, cache: Path) -> str:
    """Return the SHA-256 of what the source holds now."""
    found = files(source)
    try:
        return "sha256:" + combined_sha256(found, cache)
    except OSError as error:  # a failed read does not name its file, a failed open does
        named = error.filename or ", ".join(source.paths)
        raise BadInput(f"{named}: {error.strerror}.\nMake the file readable.") from error


def documents(source: LocalFiles, seed: int) -> Iterator[Document]:
    """Yield documents, files in hash order; raises BadInput that names file, line and cause."""
    empty = True
    for name, path in in_hash_order(files(source), lambda pair: pair[0], seed):
        for document in _read(source, name, path):
            empty = False
            yield document
    if empty:
        raise BadInput(
            f"{source.paths[0]}: the source is empty, its files hold no text.\n"
            "Correct corpus.sources.paths, or take the source out."
        )


def _read(source: LocalFiles, name: str, path: Path) -> Iterator[Document]:
    form = kind(path)
    if form in (".txt", ".md"):
        text = b"".join(_chunks(path))
        if text.strip():
            yield Document(_decode(text, path), Path(name).name.partition(".")[0])
    elif form == ".jsonl":
        yield from _json_lines(source, path)
    elif form == ".parquet":
        yield from _parquet(source, path)
    else:
        raise BadInput(f"{path}: unknown kind of file.\nKnown kinds: {', '.join(KINDS)}.")


def _json_lines(source: LocalFiles, path: Path) -> Iterator[Document]:
    for number, line in enumerate(_lines(_chunks(path)), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(_decode(line, path, number))
        except json.JSONDecodeError as error:
            why = f"no JSON ({error.msg} at character {error.pos + 1})"
            raise _bad_record(path, number, why, "Correct or remove the line.") from error
        except RecursionError as error:
            why = "no JSON that can be read (nested too deeply)"
            raise _bad_record(path, number, why, "Correct or remove the line.") from error
        if not isinstance(record, dict):
            raise _bad_record(path, number, "no JSON object", "Write one object a line.")
        yield _document(source, record, path, number)


def _document(source: LocalFiles, record: dict[str, Any], path: Path, number: int) -> Document:
    if source.text_column not in record:
        why = f"no field {source.text_column!r}; fields: {', '.join(sorted(record)[:8])}"
        raise _bad_record(path, number, why, "Set text_column of the source.")
    text = record[source.text_column]
    if not isinstance(text, str):
        why = f"field {source.text_column!r} is {type(text).__name__}, text is needed"
        raise _bad_record(path, number, why, "Correct the line, or set text_column.")
    title = record.get(source.title_column)
    return Document(text, title if isinstance(title, str) else "")


def _parquet(source: LocalFiles, path: Path) -> Iterator[Document]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path)
        names = table.schema_arrow.names
        columns = [source.text_column, source.title_column]
        columns = [column for column in dict.fromkeys(columns) if column in names]
        if source.text_column not in names:
            raise BadInput(
                f"{path}: no column {source.text_column!r}; columns: {', '.join(names[:8])}.\n"
                "Set text_column of the source."
            )
        number = 0
        for batch in table.iter_batches(batch_size=_ROWS, columns=columns):
            for record in batch.to_pylist():
                number += 1
                yield _document(source, record, path, number)
    except (pyarrow.ArrowException, OSError) as error:
        raise BadInput(f"{path}: damaged parquet ({error}).\nReplace the file.") from error


def _bad_record(path: Path, number: int, why: str, fix: str) -> BadInput:
    return BadInput(f"{path}, line {number}: {why}.\n{fix}")


def _decode(data: bytes, path: Path, first_line: int = 1) -> str:
    try:
        return data.decode("utf-8-sig" if first_line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        why = f"byte 0x{data[error.start]:02x} is no UTF-8"
        raise _bad_record(path, line, why, "Convert the file to UTF-8.") from error


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest: list[bytes] = []
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        rest.append(first)
        for line in others:
            yield b"".join(rest)
            rest = [line]
    yield b"".join(rest)


def _chunks(path: Path) -> Iterator[bytes]:
    packing = path.suffix.lower()
    try:
        if packing == ".zst":
            yield from _zstandard(path)
            return
        if packing != ".gz":
            yield from _plain_chunks(path)
            return
        with gzip.open(path) as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadInput(f"{path}: damaged gzip ({error}).\nReplace the file.") from error
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}.\nMake the file readable.") from error


def _zstandard(path: Path) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        raise EnvironmentMissing(
            f"{path}: reading .zst needs the package zstandard (extra `data`)."
        ) from None
    # The stream reader takes a file that ends inside a frame for complete; this object tells.
    frame = zstandard.ZstdDecompressor().decompressobj()
    fed = False
    try:
        for chunk in _plain_chunks(path):
            rest = chunk
            while rest:
                frame = zstandard.ZstdDecompressor().decompressobj() if frame.eof else frame
                yield frame.decompress(rest)
                rest, fed = frame.unused_data, True
    except zstandard.ZstdError as error:
        raise BadInput(f"{path}: damaged zstd ({error}).\nReplace the file.") from error
    if fed and not frame.eof:
        raise BadInput(f"{path}: damaged zstd (it ends inside a frame).\nReplace the file.")


def _plain_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
