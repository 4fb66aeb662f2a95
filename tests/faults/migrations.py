"""R20: eight processes open one catalog at once, an empty one or one that the revision before made.

Round by round on SQLite and on PostgreSQL: one process migrates, none fails, the rows that were
there stay, and each process writes its own.

    python -m tests.faults.migrations      open catalogs as told on standard input
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from components.catalog import queries, record
from components.catalog.session import Catalog, make_engine, open_catalog, upgrade
from components.catalog.tables import metadata
from components.contract import StageFailure
from tests.faults.figure import Figure
from tests.servers.postgres import postgres

ROOT = Path(__file__).parents[2]
PROCESSES = 8
BEFORE = "0001"
"""The revision before the newest."""


class Race(NamedTuple):
    """Hold what happened in the rounds of one database."""

    rounds: int
    winners: list[int]
    """How many processes migrated, by round."""
    errors: list[str]
    """What a process could not do, and what was wrong with a catalog afterwards."""


def measure(n: int, seed: int, place: Path) -> Figure:
    """Let processes race `n` times on each database; nothing here is drawn."""
    del seed
    place.mkdir(parents=True, exist_ok=True)
    with postgres(place) as server:
        races = (
            upgrade_race(n, lambda number: f"sqlite:///{place}/{number}.db"),
            upgrade_race(n, lambda number: server.url(f"race_{number}")),
        )
    errors = [error for race in races for error in race.errors]
    alone = sum(winners == 1 for race in races for winners in race.winners)
    print(*errors, sep="\n")
    return Figure(
        row="R20",
        goal="8 processes upgrade at once on SQLite and PostgreSQL: one winner, no error",
        n=n,
        figure=f"one winner in {alone} of {2 * n} rounds, {len(errors)} errors",
        holds=alone == 2 * n and not errors,
    )


def upgrade_race(rounds: int, url_factory: Callable[[int], str]) -> Race:
    """Let eight processes open the catalog of each round, which `url_factory` names, at once."""
    race = Race(rounds, [], [])
    command = [sys.executable, "-m", "tests.faults.migrations"]
    workers = [
        subprocess.Popen(
            command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(PROCESSES)
    ]
    try:
        for worker in workers:
            assert _line(worker) == {"ready": True}
        for number in range(rounds):
            _round(race, workers, url_factory(number), used=bool(number % 2))
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    return race


def _round(race: Race, workers: list[subprocess.Popen[str]], url: str, *, used: bool) -> None:
    if used:
        catalog = Catalog(make_engine(url))
        upgrade(catalog, target=BEFORE)
        record.record_run(catalog, "earlier", recipe="ci", resolved_config={"b": 1, "a": [1.5]})
        catalog.close()
    for number, worker in enumerate(workers):
        assert worker.stdin
        worker.stdin.write(json.dumps({"url": url, "run": str(number)}) + "\n")
    for worker in workers:
        assert worker.stdin
        worker.stdin.flush()
    told = [_line(worker) for worker in workers]
    race.errors.extend(answer["error"] for answer in told if answer["error"])
    race.winners.append(sum(answer["migrated"] > 0 for answer in told))
    catalog = open_catalog(url)
    expected = {*map(str, range(PROCESSES)), *(["earlier"] if used else [])}
    found = {run.id: run.resolved_config for run in queries.runs(catalog)}
    if set(found) != expected or found.get("earlier", {"b": 1, "a": [1.5]}) != {"b": 1, "a": [1.5]}:
        race.errors.append(f"{catalog.url} holds {found}")
    with catalog.read() as connection:
        lacks = compare_metadata(MigrationContext.configure(connection), metadata)
    if lacks:
        race.errors.append(f"{catalog.url}: {lacks}")
    catalog.close()


def _line(worker: subprocess.Popen[str]) -> dict[str, Any]:
    assert worker.stdout
    line = worker.stdout.readline()
    assert line, f"a process ended with {worker.wait()}"
    return json.loads(line)


def _open_as_told() -> None:
    migrations = Counter()
    logger = logging.getLogger("alembic.runtime.migration")
    logger.addHandler(migrations)
    logger.setLevel(logging.INFO)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        migrations.seen = 0
        error = ""
        try:
            catalog = open_catalog(told["url"])
            record.record_run(catalog, told["run"])
            catalog.close()
        except (StageFailure, OSError) as failure:
            error = f"{type(failure).__name__}: {failure}"
        print(json.dumps({"migrated": migrations.seen, "error": error}), flush=True)


class Counter(logging.Handler):
    """Count the migrations that this process has run, by what alembic says of them."""

    seen = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Look at one message."""
        self.seen += record.getMessage().startswith("Running upgrade")


if __name__ == "__main__":
    _open_as_told()
