"""The API in one process: it serves, and it ends when its standard input closes."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from components.settings import Settings
from flows.server_processes import free_port, python_environment
from flows.server_programs import answers, prefect_environment


def test_it_serves_alone_and_ends_with_its_input(tmp_path: Path, prefect_home):
    port, settings = free_port(), Settings(home=prefect_home(tmp_path / "home"))
    environment = python_environment(**prefect_environment(settings, port))
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.prefect_api", str(port), "--end-with-parent"],
        env=environment,
        cwd=tmp_path,
        stdin=subprocess.PIPE,
    )
    deadline = time.monotonic() + 90
    while not answers(f"http://127.0.0.1:{port}/api/health"):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
        assert b"<html" in page.read()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    assert children == ""
    assert process.stdin is not None
    process.stdin.close()
    process.wait(5)
