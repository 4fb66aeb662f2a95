"""The dashboard as a user meets it: a real server, and Chromium on every deep link."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

import dashboards
from components.catalog import record
from tests.dashboards.sample_home import SampleHome, build, run_id

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleHome:
    """Write a home of this module's own, since a test here changes it."""
    return build(tmp_path_factory.mktemp("app") / "home")


@pytest.fixture(scope="module")
def address(sample: SampleHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the dashboard below a path, as behind a proxy."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = Path(dashboards.__file__).with_name("app.py")
    environment = {
        **os.environ,
        "STRATA_HOME": str(sample.settings.home),
        "STRATA_PREFECT_PORT": "1",
        "STRATA_MLFLOW_PORT": "1",
    }
    options = ("--server.port", str(port), "--server.baseUrlPath", "strata")
    log = (tmp_path_factory.mktemp("server") / "log.txt").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(app), *options],
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    url = f"http://127.0.0.1:{port}/strata/"
    try:
        _wait_for(url + "_stcore/health", server)
        yield url
    finally:
        server.terminate()
        server.wait(10)
        log.close()


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the dashboard did not start")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def asked() -> list[str]:
    """Collect every address that the pages ask for."""
    return []


@pytest.fixture(scope="module")
def page(browser: Browser, asked: list[str]) -> Page:
    page = browser.new_page(viewport={"width": 1360, "height": 900})
    page.on("request", lambda request: asked.append(request.url))
    return page


def pages(sample: SampleHome) -> dict[str, tuple[str, ...]]:
    """Return every deep link with texts that must stand on its page."""
    a, b = run_id("a"), run_id("b")
    return {
        "": ("Runs", a, "85.3 %", "No answer from"),
        "?recipe=ci": (run_id("c", "ci"),),
        f"run?run={a}": ("toy", "8 min 25 s", "18 of 18", "Timeline"),
        f"run?run={run_id('e')}": ("Now: agentic_base", "42 %"),
        f"run?run={a}&view=Scores": ("Gained over the checkpoint before", "+30.9 points"),
        f"run?run={a}&view=Curves": ("x: optimizer step",),
        f"run?run={a}&view=Steps+and+logs&step=agent": ("agent: done",),
        f"run?run={a}&view=Configuration": ("learning_rate",),
        f"compare?runs={a}&runs={b}": ("agent.learning_rate", "0.0002"),
        "artifact": ("long_context",),
        f"artifact?key={sample.made['a/agent'].key}": ("Lineage", "model.safetensors"),
        "trajectories?id=midtrain-code-0-b1": ("goes wrong: missing extension", "recovers"),
        "data": ("near duplicate",),
        "artifact?key=ffff": ("the catalog has no artifact ffff",),
    }


def test_every_deep_link_opens_without_an_error(
    page: Page, address: str, sample: SampleHome
) -> None:
    for link, texts in pages(sample).items():
        page.goto(address + link)
        for text in texts:
            expect(page.get_by_text(text).first).to_be_visible(timeout=15_000)
        expect(page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=15_000)
        assert page.get_by_test_id("stException").count() == 0, link


def test_no_page_asks_another_host(page: Page, address: str, asked: list[str]) -> None:
    page.goto(address)
    expect(page.get_by_text(run_id("a")).first).to_be_visible(timeout=15_000)
    own = address.split("/")[2]
    outside = {u for u in asked if u.startswith("http") and u.split("/")[2] != own}
    assert outside == set()


def test_a_chosen_conversation_stands_in_the_address(page: Page, address: str) -> None:
    page.goto(f"{address}trajectories?family=math")
    expect(page.get_by_text("As the model reads it")).to_be_visible(timeout=15_000)
    page.get_by_role("radio").nth(2).check(force=True)
    page.wait_for_url("**/trajectories?*id=*", timeout=5000)
    shown = page.url.partition("id=")[2].partition("&")[0]
    expect(page.get_by_text(shown, exact=True).first).to_be_visible(timeout=5000)


def test_charts_and_graphs_are_drawn(page: Page, address: str) -> None:
    page.goto(f"{address}run?run={run_id('a')}")
    expect(page.locator("[data-testid=stGraphVizChart] g.node").first).to_be_visible(timeout=15_000)
    assert page.locator("[data-testid=stGraphVizChart] g.node").count() == 12
    expect(
        page.locator(
            "[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg"
        ).first
    ).to_be_visible()
    page.goto(f"{address}run?run={run_id('a')}&view=Scores")
    drawn = page.locator("[data-testid=stVegaLiteChart] .marks")
    expect(drawn).to_have_count(3, timeout=15_000)


def test_a_click_on_a_run_opens_it_below_the_path(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_text(run_id("b")).first.click()
    expect(page.get_by_text("3 executed, 15 cached")).to_be_visible(timeout=15_000)
    assert page.url == f"{address}run?run={run_id('b')}"
    page.locator("[data-testid=stGraphVizChart] g.node a").last.click()
    expect(page.get_by_text("Used by runs")).to_be_visible(timeout=15_000)
    assert page.url.startswith(f"{address}artifact?key=")


def test_a_change_of_a_step_shows_within_five_seconds(
    page: Page, address: str, sample: SampleHome
) -> None:
    page.goto(f"{address}run?run={run_id('e')}")
    expect(page.get_by_text("8 of 18")).to_be_visible(timeout=15_000)
    record.record_step(sample.catalog, run_id("e"), "agentic_base", state="done", ended=time.time())
    record.record_step(sample.catalog, run_id("e"), "assistant", state="running")
    expect(page.get_by_text("9 of 18")).to_be_visible(timeout=5000)
    expect(page.get_by_text("Running now")).to_be_visible(timeout=1000)


def test_what_is_new_appears_without_a_reload(
    page: Page, browser: Browser, address: str, sample: SampleHome
) -> None:
    name = "20991231-000000-ci-ffff"
    page.goto(f"{address}run?run={name}")
    expect(page.get_by_text("no run").first).to_be_visible(timeout=15_000)
    listed = browser.new_page()
    listed.goto(address)
    expect(listed.get_by_text(run_id("a")).first).to_be_visible(timeout=15_000)
    record.record_run(sample.catalog, name, recipe="ci", state="stopped", cause="asked to stop")
    expect(page.get_by_text("asked to stop")).to_be_visible(timeout=5000)
    expect(listed.get_by_text(name)).to_be_visible(timeout=5000)
    expect(listed.get_by_role("radio", name="stopped")).to_be_visible(timeout=5000)
    listed.close()
