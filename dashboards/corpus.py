"""Read what a Corpus artifact holds: its report and single documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DOMAINS = ("general", "stem", "code")


def report(files: Path) -> dict[str, Any]:
    """Return the report of what was kept and dropped; empty where it is not there."""
    try:
        return json.loads((files / "report.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}


def document_count(path: Path) -> int:
    """Count the documents of a parquet file without reading them; 0 where it is not there."""
    import pyarrow.parquet as parquet

    return parquet.read_metadata(path).num_rows if path.is_file() else 0


def documents(path: Path, first: int, count: int) -> list[dict[str, Any]]:
    """Read `count` documents from row `first` on."""
    import pyarrow.parquet as parquet

    rows: list[dict[str, Any]] = []
    with parquet.ParquetFile(path) as file:
        passed = 0
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if passed + size > first:
                start = max(0, first - passed)
                rows += file.read_row_group(group).slice(start, count - len(rows)).to_pylist()
            passed += size
            if len(rows) >= count:
                break
    return rows
