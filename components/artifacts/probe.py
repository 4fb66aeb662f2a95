"""Whether a store keeps what Strata relies on, found out by trying it."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

from components.artifacts.objects import ObjectStore

WRITERS = 8


def probe(objects: ObjectStore) -> list[str]:
    """Try the store under a name of its own, and return what it lacks, in words.

    Raises what the store raises where it cannot be reached or may not be used.
    """
    place = f"probe/{uuid.uuid4().hex}"
    try:
        return [*_only_one_creates(objects, place), *_shows_what_is_written(objects, place)]
    finally:
        objects.delete(place)


def _only_one_creates(objects: ObjectStore, place: str) -> list[str]:
    name = f"{place}/created"
    with ThreadPoolExecutor(WRITERS) as pool:
        won = list(pool.map(lambda n: objects.create(name, str(n).encode()), range(WRITERS)))
    if won.count(True) != 1 or objects.create(name, b"late"):
        return ["it lets a second writer replace what was created (`If-None-Match: *` is ignored)"]
    if objects.read(name) != str(won.index(True)).encode():
        return ["it keeps the bytes of a writer that it refused"]
    return []


def _shows_what_is_written(objects: ObjectStore, place: str) -> list[str]:
    name, lacks = f"{place}/written", list[str]()
    for data in (b"old", b"new"):
        objects.write(name, data)
        if objects.read(name) != data:
            lacks.append("a read does not show the newest write")
    if "written" not in objects.names(place) or objects.sizes(place).get("written") != 3:
        lacks.append("a listing does not show the newest write")
    objects.delete(name)
    if objects.read(name) is not None or "written" in objects.names(place):
        lacks.append("what is deleted is still there")
    return sorted(set(lacks))
