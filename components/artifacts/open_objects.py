"""From the name of a store to the store: a directory of this machine, or a bucket."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from components.artifacts.local_store import LocalStore
from components.artifacts.objects import ObjectStore
from components.contract import BadInput, EnvironmentMissing
from components.settings import Settings

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")


def open_objects(uri: str, settings: Settings, *, patience: float = 120.0) -> ObjectStore:
    """Open the store that a URI names, without asking or creating anything.

    A bucket whose server is away raises TryAgain once it was asked for `patience` seconds. Raises
    BadInput for what is neither a directory nor `s3://bucket/prefix`.
    """
    if not _SCHEME.match(uri):
        if not uri:
            raise BadInput("the store has no name: give a directory or s3://bucket/prefix")
        return LocalStore(Path(uri))
    parts = uri.removeprefix("s3://").rstrip("/").split("/")
    if not _BUCKET.fullmatch(uri) or {"", ".", ".."} & set(parts):
        raise BadInput(f"{uri} names no store: give a directory or s3://bucket/prefix")
    options = {
        "endpoint": settings.s3_endpoint,
        "region": settings.s3_region,
        "path_style": settings.s3_path_style,
        "ca_bundle": settings.s3_ca_bundle,
        "patience": patience,
    }
    return _open_bucket(uri, settings.home / "cache", tuple(options.items()))


@lru_cache(maxsize=8)
def _open_bucket(uri: str, cache: Path, options: tuple[tuple[str, Any], ...]) -> ObjectStore:
    """Open a bucket once a process: making a client is slow, and threads may share it."""
    try:
        from components.artifacts.s3_store import S3Options, S3Store
    except ModuleNotFoundError as error:
        raise EnvironmentMissing(
            f"the store {uri} needs boto3, and {error.name} is not installed.\n"
            "Fix: pip install 'strata[cluster]'"
        ) from None
    chosen = S3Options(**dict(options))
    # Buckets of one name on two servers share no file.
    digest = hashlib.sha256(f"{chosen.endpoint} {uri.rstrip('/')}".encode()).hexdigest()
    return S3Store(uri, cache / digest[:16], chosen)
