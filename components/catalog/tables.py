"""The catalog's tables.

Times are UNIX seconds, as in the store's records. An attempt belongs to a key, not to a run,
because two runs that need one artifact share its attempts; `attempts.run_id` names the run that
started it. An artifact has no foreign key to a step: a cached artifact is older than the run.
JSON is kept as it was written, not as PostgreSQL's JSONB, which forgets the order of keys.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

HEAD = "0002"
"""Newest revision under `migrations/versions`; a test compares the two."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

pipeline_runs = Table(
    "pipeline_runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("recipe", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created", Float(53), nullable=False, index=True),
    Column("ended", Float(53)),
    Column("seconds", Float(53)),
    Column("recipe_digest", String(64), nullable=False, index=True),
    Column("resolved_config", JSON, nullable=False),
    Column("flow_run_id", Text),
    Column("mlflow_run_id", Text),
    Column("host", Text),
    Column("pid", Integer),
    Column("cause", Text),
)

step_runs = Table(
    "step_runs",
    metadata,
    Column("run_id", String(64), ForeignKey("pipeline_runs.id"), primary_key=True),
    Column("step", String(128), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("stage", String(64), nullable=False),
    Column("key", String(64), index=True),
    Column("state", String(16), nullable=False),
    Column("reason", Text),
    Column("started", Float(53)),
    Column("ended", Float(53)),
    Column("digest", String(64)),
    Column("attempt", Integer),
    Column("cause", Text),
)

attempts = Table(
    "attempts",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("stage", String(64), nullable=False),
    Column("fence", Integer, nullable=False),
    Column("run_id", String(64), index=True),
    Column("step", String(128)),
    Column("state", String(16), nullable=False),
    Column("host", Text),
    Column("pid", Integer),
    Column("started", Float(53)),
    Column("ended", Float(53)),
    Column("exit_code", Integer),
    Column("cause", Text),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("stage", String(64), nullable=False),
    Column("step", String(128), nullable=False, index=True),
    Column("digest", String(64), nullable=False, index=True),
    Column("created", Float(53), nullable=False),
    Column("seconds", Float(53), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("uri", Text, nullable=False),
    Column("run_id", String(64)),
    Column("attempt", Integer, nullable=False),
    Column("condemned", Float(53)),
)

artifact_inputs = Table(
    "artifact_inputs",
    metadata,
    Column("key", String(64), ForeignKey("artifacts.key"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("input_stage", String(64), nullable=False),
    Column("input_step", String(128), nullable=False),
    Column("input_key", String(64), nullable=False, index=True),
    Column("input_digest", String(64), nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("time", Float(53), nullable=False),
    Column("run_id", String(64)),
    Column("step", String(128)),
    Column("name", String(64), nullable=False),
    Column("details", JSON, nullable=False),
    Index("ix_events_run_id", "run_id", "id"),
)
