"""The key by which an artifact is found again: stage, configuration, code, sources, packages and
input content.

Code counts by what it says, not by how it is written: the digest runs over syntax trees without
comments and docstrings, in a form of our own, because the standard dump of one file differs
between Python versions. It covers every module of `components` that the stage's function reaches
by import, and the data files beside them. The frame (contract, artifacts, tracking, settings,
execution) is left out: it carries artifacts but does not shape their content, and a change of its
meaning raises `CONTRACT_VERSION` instead.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from components.contract import CONTRACT_VERSION, EnvironmentMissing, Stage, StageConfig

FRAME = (
    "components.contract",
    "components.artifacts",
    "components.tracking",
    "components.settings",
    "components.execution",
)

InputDigests = Mapping[str, "str | tuple[str, ...] | None"]


@dataclass(frozen=True)
class CodeDigest:
    """Hold the digest of a stage's code and of each module and data file it covers."""

    digest: str
    modules: dict[str, str]


def canonical_json(value: Any) -> str:
    """Write a value as JSON that is equal for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def sha256_text(text: str) -> str:
    """Return the SHA-256 of a text as 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def artifact_key(
    stage: Stage,
    config: StageConfig,
    revisions: Mapping[str, str],
    inputs: InputDigests,
) -> str:
    """Compute the key of the artifact that `stage` makes of `config` and inputs with these
    content digests.

    Returns 64 hex digits. Nothing of the context (paths, device, attempt) enters.

    """
    identity = {
        "contract": CONTRACT_VERSION,
        "stage": stage.name,
        "config": config.model_dump(mode="json"),
        "code": code_digest(stage).digest,
        "revisions": dict(revisions),
        "packages": package_versions(stage),
        "inputs": dict(inputs),
    }
    return sha256_text(canonical_json(identity))


def package_versions(stage: Stage) -> dict[str, str]:
    """Return the public version (`2.13.0`, not `2.13.0+cpu`) of each library that shapes the
    content.
    """
    versions: dict[str, str] = {}
    for name in stage.packages:
        try:
            versions[name] = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            raise EnvironmentMissing(
                f"stage {stage.name} needs the package {name}, which is not installed: "
                "install the project with its extras (`pip install -e '.[all]'`)"
            ) from None
    return versions


def code_digest(stage: Stage) -> CodeDigest:
    """Digest every module and data file that the stage's function and its source resolver reach
    by import.
    """
    entry = stage.run.partition(":")[0]
    top = entry.partition(".")[0]
    pending = [entry]
    if stage.sources:
        pending.append(stage.sources.partition(":")[0])
    modules: dict[str, str] = {}
    while pending:
        name = pending.pop()
        path = _module_path(name)
        if name in modules or name.startswith(FRAME) or path is None:
            continue
        digest, imports = _read_module(path, path.stat().st_mtime_ns)
        modules[name] = digest
        modules.update(_data_files(name, path))
        tops = {"components", top}
        pending += [found for found in imports if found.partition(".")[0] in tops]
    return CodeDigest(sha256_text(canonical_json(modules)), modules)


@lru_cache(maxsize=4096)
def _top_path(top: str) -> Path | None:
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    return origin.parent if origin.name == "__init__.py" else origin


def _module_path(name: str) -> Path | None:
    top, *rest = name.split(".")
    start = _top_path(top)
    if start is None:
        return None
    if start.suffix == ".py":
        return None if rest else start
    target = start.joinpath(*rest)
    for candidate in (target.with_suffix(".py"), target / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _data_files(name: str, path: Path) -> dict[str, str]:
    if path.name != "__init__.py":
        return {}
    return {
        f"{name}/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.parent.iterdir())
        if file.is_file() and file.suffix not in {".py", ".pyc", ".pyi"}
    }


@lru_cache(maxsize=4096)
def _read_module(path: Path, mtime_ns: int) -> tuple[str, tuple[str, ...]]:
    del mtime_ns  # part of the cache key: an edited file is read again
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    imports: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                imports += _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            imports += _with_parents(node.module)
            imports += [f"{node.module}.{alias.name}" for alias in node.names]
    return sha256_text(canonical_source(tree)), tuple(dict.fromkeys(imports))


def _with_parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def canonical_source(tree: ast.AST) -> str:
    """Write a syntax tree in a form equal on every supported Python version.

    Empty and absent fields are left out, since versions differ in which they have; bare string
    statements (docstrings of modules, classes, functions and fields) are left out too.
    """
    return canonical_json(_canonical(tree))


def _canonical(node: Any) -> Any:
    if isinstance(node, ast.JoinedStr):
        # Python 3.12 alone adds empty constants to nested format specifications.
        parts = [part for part in node.values if getattr(part, "value", None) != ""]
        return ["JoinedStr", [_canonical(part) for part in parts]]
    if isinstance(node, ast.AST):
        fields = {
            name: _canonical(value)
            for name, value in ast.iter_fields(node)
            if name not in {"ctx", "type_comment", "kind"} and value is not None and value != []
        }
        return [type(node).__name__, fields]
    if isinstance(node, list):
        return [_canonical(item) for item in node if not _is_bare_string(item)]
    if isinstance(node, str | bool | int):
        return [type(node).__name__, node if isinstance(node, str) else repr(node)]
    return [type(node).__name__, repr(node)]


def _is_bare_string(node: Any) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
