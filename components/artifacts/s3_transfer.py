"""Files to and from a bucket: in parts, several at once, in bounded memory, and verified.

An object carries the sha256 of its bytes as metadata. A large file goes up in parts and comes down
in ranges, so no more than `parallel + 1` parts are in memory whatever its size.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from components.artifacts.manifest import FileRecord, file_sha256
from components.artifacts.s3_bucket import Answer, Bucket, content_md5
from components.contract import NotFound, StageFailure

SHA256 = "sha256"
"""Name of the metadata field that keeps the digest of an object."""
MOST_PARTS = 10_000  # of one object, by the protocol


def run_all(workers: int, tasks: Iterable[Callable[[], None]]) -> None:
    """Carry out tasks in threads and raise the first failure; a task is made only when a thread
    is about to be free for it.
    """
    running: deque[Future[None]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for task in tasks:
            running.append(pool.submit(task))
            if len(running) >= workers:
                running.popleft().result()
        for future in running:
            future.result()


def upload(bucket: Bucket, key: str, file: BinaryIO, size: int, there: int | None) -> None:
    """Put the first `size` bytes of an open file under `key`, unless the object of `there` bytes
    that is there has them already.
    """
    if size <= bucket.options.part_bytes:
        data = file.read(size)
        digest = hashlib.sha256(data).hexdigest()
        if there != len(data) or not _holds(bucket, key, digest):
            bucket.put(key, data, {SHA256: digest})
        return
    digest = _digest(file, size)
    if there != size or not _holds(bucket, key, digest):
        _upload_parts(bucket, key, file, FileRecord(path=key, bytes=size, sha256=digest))


def download(bucket: Bucket, key: str, target: Path, record: FileRecord) -> None:
    """Bring an object into a file, unless it is there; the file appears whole or not at all.

    A record without a sha256 is that of an object which something else put there. Raises NotFound
    where the object is missing or has other bytes than the record says.
    """
    there = target.is_file() and target.stat().st_size == record.bytes
    if there and file_sha256(target) == record.sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _replacing(target) as temporary:
            if record.bytes <= bucket.options.part_bytes:
                temporary.write_bytes(bucket.get(key)[0])
            else:
                _download_ranges(bucket, key, temporary, record.bytes)
            _verify(bucket, key, temporary, record)
    except Answer as answer:
        what = "is missing" if answer.meaning == "missing" else "is shorter than it was"
        raise NotFound(f"s3://{bucket.name}/{key} {what}") from None


def _verify(bucket: Bucket, key: str, path: Path, record: FileRecord) -> None:
    size = path.stat().st_size
    if size != record.bytes:
        raise NotFound(f"s3://{bucket.name}/{key} has {size} bytes instead of {record.bytes}")
    if record.sha256 and file_sha256(path) != record.sha256:
        raise NotFound(f"s3://{bucket.name}/{key} has other bytes than its record says")


def _download_ranges(bucket: Bucket, key: str, path: Path, size: int) -> None:
    step = bucket.options.part_bytes
    with path.open("wb") as file:

        def bring(start: int) -> None:
            last = min(start + step, size) - 1
            data, _ = bucket.get(key, Range=f"bytes={start}-{last}")
            os.pwrite(file.fileno(), data, start)

        run_all(bucket.options.parallel, (partial(bring, at) for at in range(0, size, step)))


def _upload_parts(bucket: Bucket, key: str, file: BinaryIO, record: FileRecord) -> None:
    """Upload in parts; the object appears when the last one is there, or not at all."""
    whole = {"Bucket": bucket.name, "Key": key}
    started = bucket.call(
        key,
        lambda client: client.create_multipart_upload(**whole, Metadata={SHA256: record.sha256}),
    )
    whole["UploadId"] = started["UploadId"]
    parts: dict[int, str] = {}

    def put(number: int, data: bytes) -> None:
        answer = bucket.call(
            key,
            lambda client: client.upload_part(
                **whole, PartNumber=number, Body=data, ContentMD5=content_md5(data)
            ),
        )
        parts[number] = answer["ETag"]

    try:
        digest = hashlib.sha256()
        pieces = enumerate(_parts(bucket, file, record.bytes, digest), 1)
        run_all(bucket.options.parallel, (partial(put, *piece) for piece in pieces))
        if digest.hexdigest() != record.sha256:
            raise StageFailure(f"{file.name} was changed while it was put into the store")
        listed = [{"PartNumber": number, "ETag": parts[number]} for number in sorted(parts)]
        _complete(bucket, whole, listed, record)
    except BaseException:
        _abort(bucket, whole)
        raise


def _complete(bucket: Bucket, whole: dict[str, Any], parts: list[Any], record: FileRecord) -> None:
    """Join the parts; a second try finds no upload any more where the first one got through."""
    key = record.path
    try:
        bucket.call(
            key,
            lambda client: client.complete_multipart_upload(
                **whole, MultipartUpload={"Parts": parts}
            ),
        )
    except Answer:
        if not _holds(bucket, key, record.sha256):
            raise StageFailure(
                f"s3://{bucket.name}/{key}: the upload was removed while it ran"
            ) from None


def _abort(bucket: Bucket, whole: dict[str, Any]) -> None:
    """Give the parts' space back; where the server is away, deleting the prefix does it later."""
    with suppress(ClientError, BotoCoreError):
        bucket.client.abort_multipart_upload(**whole)


def _parts(bucket: Bucket, file: BinaryIO, size: int, digest: Any) -> Iterator[bytes]:
    length = max(bucket.options.part_bytes, -(-size // MOST_PARTS))
    file.seek(0)
    left = size
    while left and (data := file.read(min(length, left))):
        digest.update(data)
        left -= len(data)
        yield data


def _digest(file: BinaryIO, size: int) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while size and (data := file.read(min(1 << 20, size))):
        digest.update(data)
        size -= len(data)
    return digest.hexdigest()


def _holds(bucket: Bucket, key: str, digest: str) -> bool:
    """Return whether the object under `key` says that it has these bytes."""
    return (bucket.metadata(key) or {}).get(SHA256) == digest


@contextmanager
def _replacing(target: Path) -> Generator[Path]:
    """Give a temporary name beside `target`, which takes its place if all went well."""
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
