"""Installed Python code as a source: modules as text, or their doc-strings as entries.

A distribution's revision is its version and a digest of what its RECORD says about modules. Lines
about scripts are left out: they hold the path of the virtual environment.
"""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import sysconfig
import warnings
from collections.abc import Iterator
from importlib import metadata
from inspect import cleandoc
from pathlib import Path

from components.contract import EnvironmentMissing
from components.corpus.document import Document, in_hash_order
from components.corpus.fingerprint import combined_sha256

STDLIB = "stdlib"
_SKIPPED = frozenset(
    {"__pycache__", "dist-packages", "idle_test", "lib2to3", "site-packages", "test", "tests"}
)
_Scope = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def modules(name: str) -> list[tuple[str, Path]]:
    """Return (relative path, path) of each module, tests left out.

    Raises EnvironmentMissing for a distribution that is not installed.
    """
    if name == STDLIB:
        found = _below(Path(sysconfig.get_paths()["stdlib"]))
    else:
        listed = _distribution(name).files or []
        found = [(file.as_posix(), Path(str(file.locate()))) for file in listed]
    return sorted(
        (relative, path)
        for relative, path in found
        if relative.endswith(".py")
        and not relative.startswith(("..", "_sysconfigdata"))
        and _SKIPPED.isdisjoint(relative.split("/"))
        and path.is_file()
    )


def _below(root: Path) -> list[tuple[str, Path]]:
    """Walk a directory without entering what is skipped: site-packages is most of the tree."""
    found: list[tuple[str, Path]] = []
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if name not in _SKIPPED]
        prefix = os.path.relpath(folder, root).replace(os.sep, "/") + "/"
        prefix = "" if prefix == "./" else prefix
        found += [(prefix + name, Path(folder, name)) for name in names if name.endswith(".py")]
    return found


def revision(name: str, cache: Path) -> str:
    """Return version and digest of what is installed under `name`."""
    if name == STDLIB:
        return f"{platform.python_version()} sha256:{combined_sha256(modules(name), cache)}"
    distribution = _distribution(name)
    record = distribution.read_text("RECORD") or ""
    lines = sorted(
        line
        for line in record.splitlines()
        if line.partition(",")[0].endswith(".py") and not line.startswith("..")
    )
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return f"{distribution.version} record:{digest}"


def code(name: str, seed: int) -> Iterator[Document]:
    """Yield one document a module, in hash order."""
    for relative, path in in_hash_order(modules(name), lambda pair: pair[0], seed):
        yield Document(path.read_text(encoding="utf-8", errors="replace"), dotted(relative))


def docs(name: str, seed: int) -> Iterator[Document]:
    """Yield one document a doc-string, modules in hash order; its kind is what it documents and
    its reference is what that stands in.
    """
    for relative, path in in_hash_order(modules(name), lambda pair: pair[0], seed):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # escapes in other people's strings
                tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue  # templates and code for other versions are no modules
        yield from _entries(tree, dotted(relative), "module", "")


def dotted(relative: str) -> str:
    """Return a module's name from its path below the root of imports."""
    return relative.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _entries(node: _Scope, title: str, kind: str, parent: str) -> Iterator[Document]:
    text = ast.get_docstring(node, clean=False)
    if text:
        yield Document(f"{title}\n\n{cleandoc(text)}", title, kind, (parent,) if parent else ())
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inner = _kind(child, in_class=isinstance(node, ast.ClassDef))
            yield from _entries(child, f"{title}.{child.name}", inner, title)


def _kind(node: _Scope, *, in_class: bool) -> str:
    if not isinstance(node, ast.ClassDef):
        return "method" if in_class else "function"
    bases = [ast.unparse(each) for each in node.bases]
    failing = any(each.endswith(("Error", "Exception", "Warning")) for each in bases)
    return "exception" if failing else "class"


def _distribution(name: str) -> metadata.Distribution:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise EnvironmentMissing(
            f"the Python package {name} is a source of the corpus and is not installed.\n"
            f"Run `pip install {name}`, or take it out of corpus.sources."
        ) from None
