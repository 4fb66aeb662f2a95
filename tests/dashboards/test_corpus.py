"""Reading documents out of a corpus."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from dashboards import corpus


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rows = [{"id": f"{n:04d}", "text": f"text {n}"} for n in range(25)]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet", row_group_size=10)
    return tmp_path / "x.parquet"


@pytest.mark.parametrize(("first", "count"), [(0, 6), (8, 6), (18, 6), (24, 6), (0, 100), (30, 5)])
def test_documents_across_row_groups(path: Path, first: int, count: int) -> None:
    found = [row["id"] for row in corpus.documents(path, first, count)]
    assert found == [f"{n:04d}" for n in range(first, min(25, first + count))]


def test_counts_and_reports_may_be_missing(path: Path, tmp_path: Path) -> None:
    assert corpus.document_count(path) == 25
    assert corpus.document_count(tmp_path / "none.parquet") == 0
    assert corpus.report(tmp_path) == {}
