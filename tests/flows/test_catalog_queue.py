"""A run goes on while the catalog's database is away, and the catalog has it all afterwards."""

from __future__ import annotations

import threading
import time

import pytest

from components.artifacts.store import open_store
from components.catalog import queries, record
from components.catalog.session import open_catalog
from components.settings import Settings
from flows.catalog_queue import CatalogQueue
from flows.run import carry_out, directly, make_plan
from tests.catalog_contents import contents, rebuilt
from tests.faults.proxy import Proxy
from tests.processes import wait_until
from tests.sample_pipeline import job, unwatched
from tests.servers.postgres import postgres


@pytest.fixture
def server(tmp_path):
    with postgres(tmp_path) as running:
        yield running


def beat(number: int):
    return lambda catalog: record.event(catalog, "beat", run_id=None, at=float(number))


def beats(url: str) -> list[float]:
    catalog = open_catalog(url)
    found = [event.time for event in queries.events(catalog)]
    catalog.close()
    return found


def test_a_run_outlives_its_database_and_the_catalog_misses_nothing(server, tmp_path, capfd):
    url = server.url("catalog")
    settings = Settings(home=tmp_path / "home", catalog=url)
    store = open_store(settings)
    slow = {"upto": 20, "seconds_each": 0.02}
    asked = job(first=slow, second=slow)
    came_back = threading.Event()

    def outage(run):
        def away():
            wait_until(lambda: run.register.run.steps["first"].state == "running", 30, "first")
            server.kill()
            wait_until(lambda: run.register.run.steps["second"].digest, 30, "second")
            came_back.set()
            server.start()

        threading.Thread(target=away).start()
        return unwatched(run)

    outcome = carry_out(asked, settings, make_plan(asked, store), engine=directly, watcher=outage)
    assert came_back.is_set()
    assert outcome.record.state == "done"
    assert {step.attempt for step in outcome.record.steps.values()} == {1}
    written = contents(url)
    assert len(written["artifacts"]) == 4
    assert written == rebuilt(url, store)
    told = capfd.readouterr().err
    assert "The run goes on; the catalog is told later." in told
    assert "the catalog answers again" in told


def test_a_database_that_stays_away_is_waited_for_a_while_and_named(server, tmp_path, capsys):
    url = server.url("catalog")
    queue = CatalogQueue(url)
    queue.put(beat(1))
    wait_until(lambda: beats(url) == [1.0], 30, "the first event")
    server.stop()
    for number in (2, 3):
        queue.put(beat(number))
    queue.close(patience=0.5)
    told = capsys.readouterr().err
    assert f"127.0.0.1:{server.port}/catalog does not answer" in told
    assert "lacks 2 changes of this run: `strata catalog rebuild` fills the gap" in told
    server.start()
    assert beats(url) == [1.0]


@pytest.mark.parametrize("fault", ["reset", "stall", "black hole", "slow"])
def test_each_fault_of_the_network_is_outlived_without_doubles(postgres_server, fault):
    name = f"fault_{fault.replace(' ', '_')}"
    url = postgres_server.url(name)
    proxy = Proxy(postgres_server.port, http=False)
    queue = CatalogQueue(url.replace(f":{postgres_server.port}/", f":{proxy.port}/"))
    queue.put(beat(0))
    wait_until(lambda: beats(url) == [0.0], 30, "the first event")
    proxy.fault = fault
    for number in range(1, 5):
        queue.put(beat(number))
    time.sleep(1)
    proxy.fault = ""
    queue.close()
    proxy.close()
    assert beats(url) == [0.0, 1.0, 2.0, 3.0, 4.0]
    postgres_server.drop(name)


def test_a_catalog_that_refuses_is_named_once_and_not_waited_for(tmp_path, capsys):
    (tmp_path / "catalog.db").write_text("a text file and not a database" * 50)
    queue = CatalogQueue(f"sqlite:///{tmp_path / 'catalog.db'}")
    for number in range(3):
        queue.put(beat(number))
    queue.close()
    told = capsys.readouterr().err
    assert told.count("cannot be written") == 1
    assert "`strata catalog rebuild` fills the gap" in told


def test_a_queue_that_is_told_nothing_opens_nothing(tmp_path):
    CatalogQueue(f"sqlite:///{tmp_path / 'catalog.db'}").close()
    assert not (tmp_path / "catalog.db").exists()
