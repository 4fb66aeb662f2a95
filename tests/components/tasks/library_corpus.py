"""A small real corpus for tests: docstrings and sources of the standard library that runs them."""

from __future__ import annotations

import ast
import hashlib
import sysconfig
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from components.artifacts.types import DOMAINS, Corpus
from components.contract import Resources, StageContext
from components.tracking.journal import Journal

MODULES = 90
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "source", "title", "text", "kind")]
    + [("references", pa.list_(pa.string()))]
)


def build_corpus(directory: Path, *, kinds: bool = True) -> Corpus:
    """Write a corpus: docstrings with a class (domain stem), sources without (domain code)."""
    rows: dict[str, tuple[str, dict[str, Any]]] = {}
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.glob("*.py"))[:MODULES]:
        source = path.read_text(encoding="utf-8")
        for domain, row in [("code", _row(path.name, source, "", [])), *_docstrings(path, source)]:
            body = row["text"].removeprefix(f"{row['title']}: ")
            rows.setdefault(body, (domain, row if kinds else {**row, "kind": ""}))
    for split in ("train", "heldout"):
        for domain in DOMAINS:
            chosen = [
                row
                for place, row in rows.values()
                if place == domain and (int(row["id"], 16) % 8 == 0) == (split == "heldout")
            ]
            chosen.sort(key=lambda row: row["id"])
            target = directory / split / f"{domain}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(pa.Table.from_pylist(chosen, SCHEMA), target)
    return Corpus(directory, "corpus", "key", "digest")


def _docstrings(path: Path, source: str) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            continue
        text = ast.get_docstring(node)
        if not text:
            continue
        if isinstance(node, ast.Module):
            title, kind, references = path.stem, "module", []
        else:
            title, references = f"{path.stem}.{node.name}", [path.stem]
            kind = "class" if isinstance(node, ast.ClassDef) else "function"
            kind = "method" if node.name.startswith("_") else kind
        found.append(("stem", _row(title, f"{title}: {text}", kind, references)))
    return found


def _row(title: str, text: str, kind: str, references: list[str]) -> dict[str, Any]:
    number = hashlib.sha256(text.encode()).hexdigest()[:16]
    row = {"id": number, "source": "library", "title": title, "text": text}
    return {**row, "kind": kind, "references": references}


def context_for(directory: Path) -> StageContext:
    """Return the circumstances of a stage that writes under `directory / 'out'`."""
    out = directory / "out"
    out.mkdir(parents=True)
    return StageContext(
        out=out,
        resume=directory / "resume",
        earlier_resumes=(),
        scratch=directory / "scratch",
        journal=Journal(directory / "journal"),
        resources=Resources(),
        step="test",
    )


def contents(directory: Path) -> dict[str, bytes]:
    """Return every file below a directory with its bytes."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
