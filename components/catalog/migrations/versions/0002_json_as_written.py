"""Keep JSON on PostgreSQL as it was written: JSONB forgets the order of keys.

Revision ID: 0002
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

_COLUMNS = (("pipeline_runs", "resolved_config"), ("artifacts", "facts"), ("events", "details"))


def upgrade() -> None:
    """Turn JSONB into JSON; on SQLite both are text."""
    _convert("JSON")


def downgrade() -> None:
    """Turn JSON into JSONB."""
    _convert("JSONB")


def _convert(kind: str) -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, column in _COLUMNS:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind} USING {column}::{kind}")
