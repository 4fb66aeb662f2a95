"""Read what a person types for a value: quantities with units, JSON, plain words.

A unit is read only where a number belongs, so that a model named `10GB` stays a name. `M` means a
million and `MB` a million bytes; `MiB` is 2**20. A duration is given in the unit that the field's
name ends with (`timeout_hours`), in seconds otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

COUNTS = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
BYTES = {"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12}
BINARY = {"kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30, "tib": 2.0**40}
SECONDS = {"s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

_COLLECTIONS = {list, tuple, dict, set, frozenset}
_NUMBER = re.compile(r"^\s*([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z]*)\s*$")
_FIELD_UNITS = {
    "_hours": 3600.0,
    "_minutes": 60.0,
    "_seconds": 1.0,
    "_gb": 2.0**30,
    "_mb": 2.0**20,
}


def quantity(text: str, field: str = "") -> float | int | None:
    """Read a number with an optional unit for the field of this name; None when the text is not
    one.

    `quantity("1.5B")` is 1500000000, `quantity("90min", "timeout_hours")` is 1.5.
    """
    match = _NUMBER.match(text)
    if match is None:
        return None
    digits, unit = match.group(1).replace("_", ""), match.group(2).lower()
    number = float(digits)
    if unit:
        scale = (COUNTS | BYTES | BINARY | SECONDS).get(unit)
        if scale is None:
            return None
        number = number * scale / _field_scale(field, unit)
    if not unit and not re.search(r"[.eE]", digits):
        return int(digits)
    return int(number) if number.is_integer() else number


def _field_scale(field: str, unit: str) -> float:
    kinds = SECONDS if unit in SECONDS else BYTES | BINARY if unit in BYTES | BINARY else {}
    for ending, scale in _FIELD_UNITS.items():
        same_kind = (ending in {"_gb", "_mb"}) == (unit not in SECONDS)
        if kinds and same_kind and field.endswith(ending):
            return scale
    return 1.0


def read_value(value: Any, annotation: Any, field: str) -> Any:
    """Turn what was typed into what the annotation asks for; what cannot be turned is left for
    validation.
    """
    if isinstance(value, str):
        return _read_text(value, annotation, field)
    if isinstance(value, Mapping):
        inside = _mapping_value(annotation)
        return {key: read_value(item, inside, field) for key, item in value.items()}
    if isinstance(value, Sequence):
        inside = _sequence_item(annotation)
        return [read_value(item, inside, field) for item in value]
    return value


def _read_text(text: str, annotation: Any, field: str) -> Any:
    kinds = alternatives(annotation)
    if type(None) in kinds and text.lower() in {"null", "none"}:
        return None
    if any(get_origin(kind) in _COLLECTIONS or _is_model(kind) for kind in kinds):
        return _read_collection(text, annotation, field)
    if {int, float} & set(kinds) and bool not in kinds:
        number = quantity(text, field)
        return text if number is None else number
    return text


def _read_collection(text: str, annotation: Any, field: str) -> Any:
    stripped = text.strip()
    if stripped[:1] in {"[", "{"}:
        try:
            return read_value(json.loads(stripped), annotation, field)
        except json.JSONDecodeError:
            return text
    sequences = [kind for kind in alternatives(annotation) if get_origin(kind) in {list, tuple}]
    if sequences and str not in alternatives(annotation):
        return read_value(
            [part.strip() for part in stripped.split(",") if part.strip()], annotation, field
        )
    return text


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the annotation alone."""
    if isinstance(annotation, type) or get_origin(annotation) in _COLLECTIONS:
        return (annotation,)
    if hasattr(annotation, "__metadata__"):
        return alternatives(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return tuple(kind for member in get_args(annotation) for kind in alternatives(member))
    return (annotation,)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and hasattr(kind, "model_fields")


def _mapping_value(annotation: Any) -> Any:
    for kind in alternatives(annotation):
        if get_origin(kind) is dict:
            return get_args(kind)[1]
    return Any


def _sequence_item(annotation: Any) -> Any:
    for kind in alternatives(annotation):
        if get_origin(kind) in {list, tuple, set, frozenset}:
            return get_args(kind)[0]
    return Any
