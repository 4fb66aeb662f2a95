"""The tests' own PostgreSQL server keeps what is committed, whatever happens to it."""

from __future__ import annotations

import psycopg
import pytest
import sqlalchemy as sa

from tests.servers.postgres import postgres


def test_what_is_committed_outlives_a_stop_and_a_crash(tmp_path):
    with postgres(tmp_path) as server:
        engine = sa.create_engine(server.url("kept"), poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE seen (how text)")
        for end in (server.stop, server.kill):
            with engine.begin() as connection:
                connection.exec_driver_sql(f"INSERT INTO seen VALUES ('{end.__name__}')")
            end()
            with pytest.raises(psycopg.OperationalError):
                engine.raw_connection()
            server.start()
        server.restart()
        with engine.connect() as connection:
            assert list(connection.exec_driver_sql("SELECT how FROM seen").scalars()) == [
                "stop",
                "kill",
            ]
