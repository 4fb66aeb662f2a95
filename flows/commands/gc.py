"""`strata gc`: give back the space of what no run needs any more."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from components.artifacts.store import open_store
from components.contract import BadInput
from components.settings import settings
from flows.commands.output import emit, say, size, table, when
from flows.garbage import Garbage, delete_garbage, find_garbage


def gc(*, days: float = 30.0, delete: bool = False, json: bool = False) -> None:
    """List what no run needs and nothing touched for a while; with --delete, delete it.

    Parameters
    ----------
    days
        Age of what may go, in days.
    delete
        Delete it; without, nothing is changed.
    json
        Print JSON.
    """
    if days < 0:
        raise BadInput(f"--days is {days:g}: give 0 or more")
    store = open_store(settings())
    found, census = find_garbage(store, days)
    if delete:
        gone = [delete_garbage(store, garbage, census) for garbage in found]
    else:
        gone = [False] * len(found)
    freed = sum(garbage.bytes for garbage, is_gone in zip(found, gone, strict=True) if is_gone)
    if json:
        rows = [_entry(*pair) for pair in zip(found, gone, strict=True)]
        emit({"freed": freed, "bytes": sum(garbage.bytes for garbage in found), "garbage": rows})
        return
    if found:
        print(_table(found, gone if delete else None))
    total = size(sum(garbage.bytes for garbage in found))
    if delete:
        say(f"freed {size(freed)} of {total}")
    else:
        say(f"{total} could be freed: `strata gc --delete` does it" if found else "nothing to free")


def _entry(garbage: Garbage, deleted: bool) -> dict[str, Any]:
    return {**asdict(garbage), "deleted": deleted}


def _table(found: list[Garbage], gone: list[bool] | None) -> str:
    rows: list[list[Any]] = [
        [
            garbage.kind,
            garbage.stage,
            garbage.key[:12],
            when(garbage.last_sign),
            size(garbage.bytes),
        ]
        for garbage in found
    ]
    head = ["what", "stage", "key", "last sign", "size"]
    if gone is not None:
        head.append("")
        rows = [
            [*row, "deleted" if done else "in use"] for row, done in zip(rows, gone, strict=True)
        ]
    return table(head, rows)
