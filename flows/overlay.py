"""Lay a user's changes over a recipe: a TOML, YAML or JSON file, `STRATA_SET`, and `--set
step.field=value`.

Changes are collected as paths with their origin, applied together and validated once, since two
fields may only make sense changed together. Every error names the key, where it was given, and what
would have been right.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from components.contract import BadInput, NotFound
from flows.quantity import alternatives, read_value

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Change:
    """Set one field: its path, the value as given, and where it was given."""

    path: tuple[str, ...]
    value: Any
    origin: str

    @property
    def name(self) -> str:
        """The path as a user types it."""
        return ".".join(self.path)


def read_assignment(text: str, origin: str = "--set") -> Change:
    """Read `step.field=value`; raises BadInput for another form."""
    name, equals, value = text.partition("=")
    path = tuple(part.strip() for part in name.split("."))
    if not equals or not all(path):
        raise BadInput(f"{origin} {text}: write step.field=value, such as agent.learning_rate=1e-4")
    return Change(path, value.strip(), origin)


def read_environment(text: str) -> list[Change]:
    """Read the value of STRATA_SET: assignments separated by `;`."""
    return [read_assignment(part.strip(), "STRATA_SET") for part in text.split(";") if part.strip()]


def read_file(path: Path, model: type[BaseModel]) -> list[Change]:
    """Read a TOML, YAML or JSON file as changes to `model`.

    Raises NotFound where there is no such file and BadInput, with the line, where it cannot be
    read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(
            f"there is no overlay file {path}.\nCorrect the path after --file; relative ones start "
            f"at {Path.cwd()}."
        ) from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: byte {error.start} is no UTF-8.\nSave it as UTF-8.") from None
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read: {error.strerror}.\nGive a readable .toml, .yaml or .json file."
        ) from None
    values = _parse(path, text)
    if not isinstance(values, Mapping):
        raise BadInput(f"{path}: expected a table of steps at the top, such as [agent]")
    return list(_flatten(values, model, (), str(path)))


def _parse(path: Path, text: str) -> Any:
    try:
        if path.suffix == ".toml":
            return tomllib.loads(text)
        if path.suffix == ".json":
            return json.loads(text)
        if path.suffix in {".yaml", ".yml"}:
            import yaml

            return yaml.safe_load(text) or {}
    except ModuleNotFoundError:
        raise BadInput(
            f"{path}: reading YAML needs the package pyyaml; write TOML instead"
        ) from None
    except (
        Exception
    ) as error:  # each parser has its own error class; the process border for all three
        raise BadInput(f"{path}: {' '.join(str(error).split())}") from None
    raise BadInput(f"{path}: unknown ending {path.suffix!r}; use .toml, .yaml or .json")


def _flatten(
    values: Mapping[str, Any], model: type[BaseModel], path: tuple[str, ...], origin: str
) -> Iterator[Change]:
    for name, value in values.items():
        inner = inner_model(model, str(name))
        deeper = (*path, str(name))
        if isinstance(value, Mapping) and inner is not None:
            yield from _flatten(value, inner, deeper, origin)
        elif isinstance(value, Mapping) and (of := _models_by_name(model, str(name))):
            yield from _flatten_named(value, of, deeper, origin)
        else:
            yield Change(deeper, value, origin)


def _flatten_named(
    values: Mapping[str, Any], of: type[BaseModel], path: tuple[str, ...], origin: str
) -> Iterator[Change]:
    for key, item in values.items():
        if isinstance(item, Mapping):
            yield from _flatten(item, of, (*path, str(key)), origin)
        else:
            yield Change((*path, str(key)), item, origin)


def inner_model(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Return the model class of a field that holds a model, else None."""
    field = model.model_fields.get(name)
    kinds = alternatives(field.annotation) if field else ()
    found = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return found[0] if found else None


def _models_by_name(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    field = model.model_fields.get(name)
    for kind in alternatives(field.annotation) if field else ():
        if get_origin(kind) is dict:
            value = get_args(kind)[1]
            return value if isinstance(value, type) and issubclass(value, BaseModel) else None
    return None


def apply(model: Model, changes: Iterable[Change]) -> Model:
    """Return `model` with the changes, later ones over earlier ones, validated as a whole.

    Raises BadInput for an unknown key, with a suggestion, and for a value of the wrong kind.
    """
    changes = list(changes)
    values: dict[str, Any] = {name: getattr(model, name) for name in type(model).model_fields}
    for change in changes:
        _assign(values, model, change, 0)
    try:
        return type(model).model_validate(_plain(values))
    except ValidationError as error:
        raise BadInput(_explain(error, type(model), changes)) from None


def _assign(values: dict[str, Any], model: BaseModel, change: Change, depth: int) -> None:
    """Set one change inside `values`, the fields of `model`, which are turned into dicts on the way
    down.
    """
    name = change.path[depth]
    field = type(model).model_fields.get(name)
    if field is None:
        raise BadInput(_unknown(change, depth, type(model).model_fields, type(model)))
    current = getattr(model, name)
    if depth == len(change.path) - 1:
        values[name] = read_value(change.value, field.annotation, name)
        if isinstance(current, BaseModel) and isinstance(values[name], str | int | float):
            one = f"{change.name}.{next(iter(type(current).model_fields))}"
            raise BadInput(
                f"{change.name} = {change.value} (from {change.origin}): {change.name} is a table "
                f"of settings; set one of them, such as {one}"
            )
        return
    if isinstance(current, BaseModel):
        if not isinstance(values[name], dict):
            values[name] = {key: getattr(current, key) for key in type(current).model_fields}
        _assign(values[name], current, change, depth + 1)
    elif isinstance(current, Mapping):
        values[name] = _assign_entry(dict(values[name]), field.annotation, change, depth + 1)
    elif isinstance(current, tuple | list) and isinstance(current[0] if current else 0, BaseModel):
        values[name] = _assign_place(list(values[name]), current, change, depth + 1)
    else:
        raise BadInput(
            f"{change.name} (from {change.origin}): {'.'.join(change.path[: depth + 1])} is a "
            f"single value, now {current!r}; it has no part {change.path[depth + 1]}"
        )


def _assign_entry(
    entries: dict[str, Any], annotation: Any, change: Change, depth: int
) -> dict[str, Any]:
    key = change.path[depth]
    kind: Any = next(
        (get_args(k)[1] for k in alternatives(annotation) if get_origin(k) is dict), Any
    )
    if depth == len(change.path) - 1:
        return {**entries, key: read_value(change.value, kind, key)}
    start = entries.get(key, entries.get("default"))
    if not isinstance(start, BaseModel | dict):
        raise BadInput(f"{change.name} (from {change.origin}): {key} has no parts to set")
    if isinstance(start, dict):
        start = kind.model_validate(start)
    inner = {name: getattr(start, name) for name in type(start).model_fields}
    _assign(inner, start, change, depth + 1)
    return {**entries, key: inner}


def _assign_place(
    entries: list[Any], models: Sequence[BaseModel], change: Change, depth: int
) -> list[Any]:
    """Set one change in an entry of a list, named by its place or by its field `name`."""
    names = [str(getattr(entry, "name", at)) for at, entry in enumerate(models)]
    part = change.path[depth]
    where = f"{change.name} (from {change.origin})"
    if not part.isdigit() and part not in names:
        best = suggest(part, names)
        hint = f" Did you mean {best[0]}?" if best else ""
        raise BadInput(f"{where}: there is no entry {part!r}.{hint} Entries: {', '.join(names)}.")
    at = names.index(part) if part in names else int(part)
    if at >= len(models):
        listed = ".".join(change.path[:depth])
        last = len(models) - 1
        raise BadInput(f"{where}: {listed} has {len(models)} entries, 0 to {last}")
    if depth == len(change.path) - 1:
        raise BadInput(f"{where}: name a field of the entry, such as {change.name}.max_bytes=1MB")
    if len(entries) != len(models):
        raise BadInput(f"{where}: the list was given anew before; set the field there")
    inner = entries[at]
    if not isinstance(inner, dict):
        inner = {name: getattr(models[at], name) for name in type(models[at]).model_fields}
    _assign(inner, models[at], change, depth + 1)
    entries[at] = inner
    return entries


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _unknown(change: Change, depth: int, known: Iterable[str], model: type[BaseModel]) -> str:
    word, parent = change.path[depth], ".".join(change.path[:depth])
    known = list(known)
    where = f"{change.name} (from {change.origin})"
    best = suggest(word, known)
    deeper = "" if depth else _found_deeper(word, model)
    if deeper and (
        not best or similarity(word, best[0]) < similarity(word, deeper.rpartition(".")[2])
    ):
        best = [deeper]
    hint = ".".join(filter(None, [parent, best[0]])) if best else ""
    meant = f" Did you mean {hint}?" if hint else ""
    listed = ", ".join(known[:24]) + (" …" if len(known) > 24 else "")
    return f"{where}: unknown key {word!r}.{meant}\nKnown here: {listed}."


def _found_deeper(word: str, model: type[BaseModel]) -> str:
    """Find the step that has a field of this name, for a user who left the step out."""
    for step in model.model_fields:
        inner = inner_model(model, step)
        if inner is not None and suggest(word, inner.model_fields, least=0.85):
            return f"{step}.{suggest(word, inner.model_fields)[0]}"
    return ""


def similarity(word: str, other: str) -> float:
    """Return how alike two names are, from 0 to 1; case, `-` and `_` do not count."""
    a, b = (text.lower().replace("-", "_") for text in (word, other))
    return SequenceMatcher(None, a, b).ratio()


def suggest(word: str, known: Iterable[str], *, least: float = 0.5) -> list[str]:
    """Return the known names that are like `word`, the most alike first."""
    scored = sorted(
        ((similarity(word, name), name) for name in known), key=lambda pair: (-pair[0], pair[1])
    )
    return [name for score, name in scored if score >= least]


def _explain(error: ValidationError, model: type[BaseModel], changes: list[Change]) -> str:
    errors = error.errors()
    # A misspelt key is the cause of the missing one that is reported before it.
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    path = tuple(str(part) for part in first["loc"])
    culprit = next((c for c in reversed(changes) if _touches(path, c.path)), None)
    name = culprit.name if culprit else ".".join(path)
    given = first["input"] if culprit is None else culprit.value
    origin = f" (from {culprit.origin})" if culprit else ""
    about = description(model, culprit.path if culprit else path)
    message = first["msg"].removeprefix("Value error, ")
    inside = _inside(given, path[len(culprit.path) :]) if culprit else []
    if inside:
        name, given, about = ".".join([name, *inside]), first["input"], ""
    if first["type"] == "missing":
        return f"{name}{origin}: this field is required.\n{_shortened(given)} lacks it."
    if first["type"] == "extra_forbidden":
        missing = [str(e["loc"][-1]) for e in errors if e["type"] == "missing"]
        known = [*missing, *_entry_fields(model, culprit.path if culprit else ())]
        best = suggest(path[-1], known)
        message = f"unknown key {path[-1]!r}" + (f". Did you mean {best[0]}?" if best else "")
    ending = "" if message.endswith("?") else "."
    lines = [f"{name} = {_shortened(given)}{origin}: {message}{ending}"]
    return "\n".join([*lines, *([f"{name}: {about}"] if about else [])])


def _shortened(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 120 else text[:119] + "…"


def _inside(value: Any, rest: tuple[str, ...]) -> list[str]:
    """Return the steps from a value to what is wrong inside it, without the tags of unions."""
    steps: list[str] = []
    for place, part in enumerate(rest):
        if isinstance(value, list | tuple) and part.isdigit():
            value = value[int(part)]
        elif isinstance(value, Mapping) and part in value:
            value = value[part]
        elif place < len(rest) - 1:
            continue
        steps.append(part)
    return steps


def _entry_fields(model: type[BaseModel], path: tuple[str, ...]) -> list[str]:
    """Return the field names of the models that the list at `path` may hold."""
    kind: type[BaseModel] | None = model
    for name in path[:-1]:
        kind = inner_model(kind, name) if kind else None
    field = kind.model_fields.get(path[-1]) if kind and path else None
    entries = [a for k in alternatives(field.annotation if field else None) for a in get_args(k)]
    kinds = [kind for entry in entries for kind in alternatives(entry)]
    return [
        name
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, BaseModel)
        for name in kind.model_fields
    ]


def _touches(location: tuple[str, ...], path: tuple[str, ...]) -> bool:
    kept = [part for part in location if part in path]
    return (
        kept == list(path)
        or location[: len(path)] == path
        or (len(location) < len(path) and path[: len(location)] == location)
    )


def description(model: type[BaseModel], path: tuple[str, ...]) -> str:
    """Return the docstring of the field at `path`; empty where there is none."""
    kind: type[BaseModel] | None = model
    text = ""
    for name in path:
        field = kind.model_fields.get(name) if kind else None
        if field is None:
            return text
        text = field.description or ""
        kind = inner_model(kind, name) if kind else None
    return " ".join(text.split())
