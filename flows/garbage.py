"""What of the store nothing needs any more: found, and with care deleted.

A run record keeps the artifacts of its steps, and an artifact keeps its inputs; what no run record
reaches is garbage once it is old enough. So are manifests that were condemned, the files of
attempts that another attempt overtook, and the resume points of an artifact that is there. The
records and journals of attempts stay as long as their artifact: the catalog is rebuilt from them.

Only the object store is asked, and whatever cannot be judged (a torn run record, an attempt without
a sign of its time) is kept.
"""

from __future__ import annotations

import calendar
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.artifacts.manifest import Manifest
from components.artifacts.store import ArtifactStore
from components.contract import BadInput
from flows.runs import load_run

Key = tuple[str, str]
"""Stage and key of an artifact."""
DAY = 86_400.0


@dataclass(frozen=True)
class Garbage:
    """Name objects that nothing needs, all of one artifact, in the order of their deletion."""

    kind: str
    stage: str
    key: str
    names: tuple[str, ...]
    bytes: int
    last_sign: float
    """UNIX seconds of the last thing known to have happened to it."""
    attempt: int = 0
    """The attempt whose manifest made it garbage; 0 where there is none."""


@dataclass(frozen=True)
class Census:
    """Hold what the run records keep, and the runs whose records will not change any more."""

    kept: frozenset[Key]
    finished: frozenset[str]


def find_garbage(store: ArtifactStore, days: float) -> tuple[list[Garbage], Census]:
    """List what nothing needs and nothing touched for `days`.

    Raises BadInput for a run record that cannot be read, since what it keeps is not known.
    """
    census, before = take_census(store), time.time() - days * DAY
    found = [
        garbage
        for stage, key in store.keys()  # noqa: SIM118
        for garbage in _of_key(store, stage, key, (stage, key) in census.kept)
        if garbage.last_sign < before
    ]
    return found, census


def delete_garbage(store: ArtifactStore, garbage: Garbage, census: Census) -> bool:
    """Delete one entry under the lock of its key; False where it is in use after all.

    A manifest goes first, so that an artifact which is deleted by half does not exist.
    """
    try:
        with store.lock(garbage.key, timeout=0):
            if not _is_still(store, garbage, census):
                return False
            for name in garbage.names:
                store.objects.delete(name)
    except TimeoutError:
        return False
    return True


def take_census(store: ArtifactStore, earlier: Census | None = None) -> Census:
    """Read which artifacts the run records keep, themselves and through their inputs; a run that
    was finished in an earlier census is not read again.
    """
    kept = set[Key](earlier.kept if earlier else ())
    finished = set[str](earlier.finished if earlier else ())
    for run in store.objects.names("runs"):
        if run not in finished:
            record = load_run(store, run)
            if record is None:
                _refuse_torn(store, run)
                continue
            new = {(step.stage, step.key) for step in record.steps.values() if step.key}
            kept |= _with_inputs(store, new, kept)
            finished |= {run} if record.state == "done" else set()
    return Census(frozenset(kept), frozenset(finished))


def _with_inputs(store: ArtifactStore, wanted: set[Key], known: set[Key]) -> set[Key]:
    """Return the artifacts and all they were made of, as far as it is not known to be kept."""
    found, left = set[Key](), list(wanted - known)
    while left:
        stage, key = left.pop()
        found.add((stage, key))
        manifest = store.manifest(stage, key)
        inputs = {(entry.stage, entry.key) for entry in manifest.inputs} if manifest else set()
        left += inputs - found - known
    return found


def _refuse_torn(store: ArtifactStore, run: str) -> None:
    place = f"runs/{run}/run.json"
    if store.objects.read(place) is not None:
        raise BadInput(
            f"{store.objects.uri}/{place} cannot be read, so what it keeps is not known.\n"
            "Nothing was deleted. Move it aside, then run `strata gc` again."
        )


def _of_key(store: ArtifactStore, stage: str, key: str, kept: bool) -> Iterator[Garbage]:
    place = f"artifacts/{stage}/{key}"
    sizes = store.objects.sizes(place)
    manifest = store.manifest(stage, key)
    signs = {n: _last_sign(store, f"{place}/attempts/{n}") for n in _attempts(sizes)}
    if not kept:
        if sign := _newest(manifest, signs):
            names = (f"{place}/manifest.json", place)
            kind = "artifact" if manifest else "attempts"
            yield Garbage(kind, stage, key, names, sum(sizes.values()), sign)
        return
    for name, size in sizes.items():
        stamp = name.removeprefix("condemned/").removesuffix(".json")
        if name.startswith("condemned/") and stamp.isdigit():
            names = (f"{place}/{name}",)
            yield Garbage("condemned", stage, key, names, size, int(stamp) / 1e9)
    if manifest is not None:
        for number, sign in signs.items():
            yield from _overtaken(manifest, number, sign, sizes)


def _overtaken(
    manifest: Manifest, number: int, sign: float, sizes: dict[str, int]
) -> Iterator[Garbage]:
    """Yield what an attempt holds that the manifest does not need."""
    parts = ("resume",) if number == manifest.attempt else ("files", "resume")
    roots = [f"attempts/{number}/{part}" for part in parts]
    held = sum(
        size for name, size in sizes.items() if name.startswith(tuple(f"{r}/" for r in roots))
    )
    if held:
        place = f"artifacts/{manifest.stage}/{manifest.key}"
        names = tuple(f"{place}/{root}" for root in roots)
        kind = "resume points" if number == manifest.attempt else "losing attempt"
        last = max(manifest.ended, sign)
        yield Garbage(kind, manifest.stage, manifest.key, names, held, last, manifest.attempt)


def _is_still(store: ArtifactStore, garbage: Garbage, census: Census) -> bool:
    """Look again under the lock: a run may need it by now, or another attempt may have won."""
    if garbage.kind in {"artifact", "attempts"}:
        return (garbage.stage, garbage.key) not in take_census(store, census).kept
    if garbage.attempt:
        manifest = store.manifest(garbage.stage, garbage.key)
        return manifest is not None and manifest.attempt == garbage.attempt
    return True


def _attempts(sizes: dict[str, int]) -> list[int]:
    numbers = {name.split("/")[1] for name in sizes if name.startswith("attempts/")}
    return sorted(int(number) for number in numbers if number.isdigit())


def _newest(manifest: Manifest | None, signs: dict[int, float]) -> float:
    """Return the last sign of a key; 0 where the time of one of its attempts is not known."""
    if manifest is not None:
        return max(manifest.ended, *signs.values(), 0.0)
    return max(signs.values()) if signs and all(signs.values()) else 0.0


def _last_sign(store: ArtifactStore, place: str) -> float:
    """Return when an attempt last gave a sign: its heartbeat, else the start of its run."""
    beat = _record(store, f"{place}/progress.json").get("time")
    if isinstance(beat, int | float):
        return float(beat)
    stamp = str(_record(store, f"{place}/request.json").get("run", ""))[:15]
    try:
        return float(calendar.timegm(time.strptime(stamp, "%Y%m%d-%H%M%S")))
    except ValueError:
        return 0.0


def _record(store: ArtifactStore, name: str) -> dict[str, Any]:
    try:
        found = json.loads(store.objects.read(name) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
