"""Create the catalog's tables.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

_JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Create every table of the first edition."""
    op.create_table(
        "pipeline_runs",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("recipe", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created", sa.Float(53), nullable=False),
        sa.Column("ended", sa.Float(53)),
        sa.Column("seconds", sa.Float(53)),
        sa.Column("recipe_digest", sa.String(64), nullable=False),
        sa.Column("resolved_config", _JSON, nullable=False),
        sa.Column("flow_run_id", sa.Text),
        sa.Column("mlflow_run_id", sa.Text),
        sa.Column("host", sa.Text),
        sa.Column("pid", sa.Integer),
        sa.Column("cause", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_pipeline_runs"),
    )
    op.create_index("ix_pipeline_runs_created", "pipeline_runs", ["created"])
    op.create_index("ix_pipeline_runs_recipe_digest", "pipeline_runs", ["recipe_digest"])
    op.create_table(
        "step_runs",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("step", sa.String(128), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("stage", sa.String(64), nullable=False),
        sa.Column("key", sa.String(64)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("started", sa.Float(53)),
        sa.Column("ended", sa.Float(53)),
        sa.Column("digest", sa.String(64)),
        sa.Column("attempt", sa.Integer),
        sa.Column("cause", sa.Text),
        sa.PrimaryKeyConstraint("run_id", "step", name="pk_step_runs"),
        sa.ForeignKeyConstraint(["run_id"], ["pipeline_runs.id"], name="fk_step_runs_run_id"),
    )
    op.create_index("ix_step_runs_key", "step_runs", ["key"])
    op.create_table(
        "attempts",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("stage", sa.String(64), nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("run_id", sa.String(64)),
        sa.Column("step", sa.String(128)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("host", sa.Text),
        sa.Column("pid", sa.Integer),
        sa.Column("started", sa.Float(53)),
        sa.Column("ended", sa.Float(53)),
        sa.Column("exit_code", sa.Integer),
        sa.Column("cause", sa.Text),
        sa.PrimaryKeyConstraint("key", "number", name="pk_attempts"),
    )
    op.create_index("ix_attempts_run_id", "attempts", ["run_id"])
    op.create_table(
        "artifacts",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("stage", sa.String(64), nullable=False),
        sa.Column("step", sa.String(128), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created", sa.Float(53), nullable=False),
        sa.Column("seconds", sa.Float(53), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("facts", _JSON, nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("run_id", sa.String(64)),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("condemned", sa.Float(53)),
        sa.PrimaryKeyConstraint("key", name="pk_artifacts"),
    )
    op.create_index("ix_artifacts_step", "artifacts", ["step"])
    op.create_index("ix_artifacts_digest", "artifacts", ["digest"])
    op.create_table(
        "artifact_inputs",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("input_stage", sa.String(64), nullable=False),
        sa.Column("input_step", sa.String(128), nullable=False),
        sa.Column("input_key", sa.String(64), nullable=False),
        sa.Column("input_digest", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("key", "position", name="pk_artifact_inputs"),
        sa.ForeignKeyConstraint(["key"], ["artifacts.key"], name="fk_artifact_inputs_key"),
    )
    op.create_index("ix_artifact_inputs_input_key", "artifact_inputs", ["input_key"])
    op.create_table(
        "events",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("time", sa.Float(53), nullable=False),
        sa.Column("run_id", sa.String(64)),
        sa.Column("step", sa.String(128)),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("details", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_index("ix_events_run_id", "events", ["run_id", "id"])


def downgrade() -> None:
    """Drop every table; the store can fill them again."""
    for name in (
        "events",
        "artifact_inputs",
        "artifacts",
        "attempts",
        "step_runs",
        "pipeline_runs",
    ):
        op.drop_table(name)
