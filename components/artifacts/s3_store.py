"""The object store of a cluster: objects in a bucket, worked on in a directory of this machine.

What is relied on is little: plain and multipart PUT, `If-None-Match: *` on a plain PUT, ranged GET,
listing, deleting. Servers disagree on the rest (If-Match, checksums, conditional multipart), so the
integrity of files is our own sha256, kept in each object's metadata.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from components.artifacts.manifest import FileRecord
from components.artifacts.s3_bucket import Answer, Bucket, S3Options
from components.artifacts.s3_transfer import SHA256, download, run_all, upload
from components.contract import BadInput, EnvironmentMissing, NotFound

TOKEN = "strata-writer"
"""Name of the metadata field by which a writer knows its own object again."""
LAST = "manifest.json"
"""Name of files that say that their neighbours are whole, and so are published after them."""
DELETED_AT_ONCE = 1000
SETTLED_NS = 2_000_000_000
"""Age after which a file's time tells one content from the next."""


class S3Store:
    """Keep objects in a bucket below a prefix; `cache` holds what stages write and read."""

    def __init__(self, uri: str, cache: Path, options: S3Options) -> None:
        name, _, prefix = uri.removeprefix("s3://").partition("/")
        self._bucket = Bucket(name, options)
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._written = cache / "written"
        self._brought = cache / "brought"
        self._published: dict[str, tuple[int, int, int]] = {}
        self._fetched: dict[str, str] = {}

    @property
    def uri(self) -> str:
        return f"s3://{self._bucket.name}/{self._prefix}".rstrip("/")

    def read(self, name: str) -> bytes | None:
        try:
            return self._bucket.get(self._key(name))[0]
        except Answer:
            return None

    def write(self, name: str, data: bytes) -> None:
        self._bucket.put(self._key(name), data, {SHA256: hashlib.sha256(data).hexdigest()})

    def create(self, name: str, data: bytes) -> bool:
        """Put bytes under `name` unless it exists.

        A try whose answer is lost may have been carried out: the next one is refused by our own
        object, which its token tells.
        """
        key, token = self._key(name), uuid.uuid4().hex
        metadata = {SHA256: hashlib.sha256(data).hexdigest(), TOKEN: token}
        deadline = time.monotonic() + self._bucket.options.patience
        while True:
            try:
                self._bucket.put(key, data, metadata, IfNoneMatch="*")
                return True
            except Answer:
                there = self._bucket.metadata(key)
            if there is not None:
                return there.get(TOKEN) == token
            if time.monotonic() > deadline:
                raise EnvironmentMissing(
                    f"s3://{self._bucket.name}/{key} is refused as if it existed, and does not.\n"
                    "Fix: use a server that knows `If-None-Match: *`; `strata doctor` tells."
                )
            time.sleep(0.05)  # it was removed meanwhile, or another writer is at it

    def names(self, prefix: str) -> Iterator[str]:
        found: set[str] = set()
        root = self._below(prefix)
        for page in self._pages(root, Delimiter="/"):
            found |= {entry["Prefix"] for entry in page.get("CommonPrefixes", ())}
            found |= {entry["Key"] for entry in page.get("Contents", ())}
        yield from sorted(name for key in found if (name := key.removeprefix(root).rstrip("/")))

    def sizes(self, prefix: str) -> dict[str, int]:
        return {name: size for name, (size, _) in self._listing(prefix).items()}

    def delete(self, name: str) -> None:
        root, key = self._below(name), self._key(name)
        self._delete_keys([key])
        for page in self._pages(root):
            self._delete_keys([entry["Key"] for entry in page.get("Contents", ())])
        self._abort_uploads(root)
        for root in (self._written, self._brought):
            cached = self._local(root, name)
            if cached.is_dir():
                shutil.rmtree(cached, ignore_errors=True)
            else:
                cached.unlink(missing_ok=True)

    def directory(self, name: str) -> Path:
        target = self._local(self._written, name)
        target.mkdir(parents=True, exist_ok=True)
        return target

    def publish(self, name: str) -> None:
        """Put every file under `directory(name)` into the store, manifests last.

        Temporary files (`.name`, `name.tmp`) stay here, and a file that goes away meanwhile is
        passed over. Large files go up one after the other, their parts side by side.
        """
        there = self.sizes(name)
        found = sorted(_finished_files(self._local(self._written, name)))
        for last in (False, True):
            wave = [path for path in found if (path.rpartition("/")[2] == LAST) is last]
            large = [path for path in wave if self._is_large(name, path)]
            small = [path for path in wave if path not in set(large)]
            run_all(
                self._bucket.options.parallel,
                (partial(self._publish, name, path, there.get(path)) for path in small),
            )
            for path in large:
                self._publish(name, path, there.get(path))

    def fetch(self, name: str, files: Sequence[FileRecord] | None = None) -> Path:
        tasks = (
            [
                partial(self._fetch, name, path, *entry)
                for path, entry in self._listing(name).items()
            ]
            if files is None
            else [partial(self._fetch_record, name, record) for record in files]
        )
        if files is None and not tasks:
            self._fetch_object(name)
        run_all(self._bucket.options.parallel, tasks)
        return self._local(self._brought, name)

    def presigned_url(self, name: str, seconds: int) -> str:
        """Return a URL by which anyone may read `name` for so long."""
        return self._bucket.client.generate_presigned_url(
            "get_object",
            Params={"Bucket": self._bucket.name, "Key": self._key(name)},
            ExpiresIn=seconds,
        )

    def _publish(self, name: str, path: str, there: int | None) -> None:
        key = self._key(f"{name}/{path}")
        try:
            file = (self._local(self._written, name) / path).open("rb")
        except (FileNotFoundError, NotADirectoryError):
            return
        with file:
            state = os.fstat(file.fileno())
            mark = (state.st_ino, state.st_size, state.st_mtime_ns)
            if there == state.st_size and self._published.get(key) == mark:
                return
            upload(self._bucket, key, file, state.st_size, there)
        if time.time_ns() - state.st_mtime_ns > SETTLED_NS:
            self._published[key] = mark

    def _is_large(self, name: str, path: str) -> bool:
        try:
            size = (self._local(self._written, name) / path).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return False
        return size > self._bucket.options.part_bytes

    def _fetch(self, name: str, path: str, size: int, version: str) -> None:
        """Bring an object that was listed; one that has gone since is passed over, one that was
        replaced is brought as it is now.
        """
        key, target = self._key(f"{name}/{path}"), self._local(self._brought, f"{name}/{path}")
        there = target.is_file() and target.stat().st_size == size
        if there and self._fetched.get(key) == version:
            return
        metadata = self._bucket.metadata(key)
        if metadata is not None:
            record = FileRecord(path=path, bytes=size, sha256=metadata.get(SHA256, ""))
            try:
                download(self._bucket, key, target, record)
            except NotFound:
                now = self._listing(name).get(path)
                if now == (size, version):
                    raise
                if now is not None:
                    self._fetch(name, path, *now)
                return
            self._fetched[key] = version

    def _fetch_object(self, name: str) -> None:
        """Bring the object of this very name, where there is one."""
        data = self.read(name)
        if data is not None:
            target = self._local(self._brought, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)

    def _fetch_record(self, name: str, record: FileRecord) -> None:
        where = f"{name}/{record.path}"
        download(self._bucket, self._key(where), self._local(self._brought, where), record)

    def _listing(self, prefix: str) -> dict[str, tuple[int, str]]:
        """Return size and version of every object under a prefix, by relative name."""
        root = self._below(prefix)
        return {
            entry["Key"].removeprefix(root): (entry["Size"], entry["ETag"])
            for page in self._pages(root)
            for entry in page.get("Contents", ())
            if not entry["Key"].endswith("/")  # how some tools mark an empty folder
        }

    def _pages(self, root: str, **options: str) -> Iterator[dict[str, Any]]:
        where = {"Bucket": self._bucket.name, "Prefix": root, **options}
        page_of = {"MaxKeys": self._bucket.options.page}
        after: dict[str, str] = {}
        while True:
            page = self._bucket.call(
                root, lambda client, a=after: client.list_objects_v2(**where, **page_of, **a)
            )
            yield page
            if not page.get("IsTruncated"):
                return
            after = {"ContinuationToken": page["NextContinuationToken"]}

    def _delete_keys(self, keys: list[str]) -> None:
        for start in range(0, len(keys), DELETED_AT_ONCE):
            objects = [{"Key": key} for key in keys[start : start + DELETED_AT_ONCE]]
            answer = self._bucket.call(
                keys[start],
                lambda client, o=objects: client.delete_objects(
                    Bucket=self._bucket.name, Delete={"Objects": o, "Quiet": True}
                ),
            )
            for error in answer.get("Errors", ()):
                raise EnvironmentMissing(
                    f"s3://{self._bucket.name}/{error['Key']} is not deleted ({error['Code']}).\n"
                    "Fix: grant the credentials deleting in the bucket."
                )

    def _abort_uploads(self, root: str) -> None:
        """Give back the space of uploads that were never finished."""
        where = {"Bucket": self._bucket.name}
        found = self._bucket.call(
            root, lambda client: client.list_multipart_uploads(**where, Prefix=root)
        )
        for entry in found.get("Uploads", ()):
            one = {**where, "Key": entry["Key"], "UploadId": entry["UploadId"]}
            try:
                self._bucket.call(root, lambda client, o=one: client.abort_multipart_upload(**o))
            except Answer:
                continue  # another did

    def _key(self, name: str) -> str:
        return self._prefix + name

    def _below(self, prefix: str) -> str:
        return self._prefix + (f"{prefix.strip('/')}/" if prefix.strip("/") else "")

    def _local(self, root: Path, name: str) -> Path:
        """Return the local path of a name; one that leads out of the cache is refused."""
        if name.startswith("/") or ".." in name.split("/"):
            raise BadInput(f"s3://{self._bucket.name}/{self._key(name)} is no name of an object")
        return root / name


def _finished_files(root: Path) -> Iterator[str]:
    """Yield the files below a directory, by relative path, that are not being written."""
    for place, directories, files in os.walk(root):
        directories[:] = [name for name in directories if not _is_temporary(name)]
        for name in files:
            if not _is_temporary(name):
                yield (Path(place) / name).relative_to(root).as_posix()


def _is_temporary(name: str) -> bool:
    return name.startswith(".") or name.endswith(".tmp")
