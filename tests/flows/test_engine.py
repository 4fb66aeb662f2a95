"""A run through Prefect with its private server: made, killed, stopped, continued; nothing left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.artifacts.store import open_store
from components.settings import Settings
from flows.runs import find_run
from tests.processes import processes_of, wait_until

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from pathlib import Path
from components.artifacts.store import open_store
from components.contract import StageFailure
from components.settings import settings
from flows.display import watch
from flows.engine import with_prefect
from flows.run import carry_out, make_plan
from tests.sample_pipeline import job

asked = job(first={"upto": int(sys.argv[1]), "seconds_each": 0.02})
try:
    plan = make_plan(asked, open_store(settings()))
    done = carry_out(asked, settings(), plan, engine=with_prefect, watcher=watch)
except StageFailure as error:
    print(error, file=sys.stderr)
    sys.exit(int(error.exit_code))
print(*done.executed)
"""

pytestmark = pytest.mark.slow


def start(home: Path, upto: int, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(upto)],
        cwd=ROOT,
        env={**os.environ, "STRATA_HOME": str(home), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def counting(home: Path):
    """Return a condition: the first step has made some progress."""

    def reached() -> bool:
        for path in home.glob("store/artifacts/count/*/attempts/*/progress.json"):
            if json.loads(path.read_text()).get("done", 0) > 20:
                return True
        return False

    return reached


def test_killed_stopped_and_continued_leaves_no_process_and_one_result(tmp_path):
    home = tmp_path / "home"
    killed = start(home, 500)
    wait_until(counting(home))
    killed.kill()
    killed.communicate()
    wait_until(lambda: not processes_of(home), 10)

    stopped = start(home, 500)
    wait_until(lambda: len(open_store(Settings(home=home)).attempts("count", first_key(home))) == 2)
    time.sleep(3)
    stopped.send_signal(signal.SIGINT)
    _, talk = stopped.communicate(timeout=60)
    assert stopped.returncode == 130, talk
    assert "Traceback" not in talk
    wait_until(lambda: not processes_of(home), 10)
    assert find_run(open_store(Settings(home=home))).state == "stopped"

    done = start(home, 500)
    out, talk = done.communicate(timeout=120)
    assert done.returncode == 0, talk
    assert {"first", "second", "third"} <= set(out.split())
    wait_until(lambda: not processes_of(home), 10)
    store = open_store(Settings(home=home))
    assert find_run(store).state == "done"
    assert len(list(store.objects.names("runs"))) == 1


def first_key(home: Path) -> str:
    record = find_run(open_store(Settings(home=home)))
    return record.steps["first"].key or ""


def test_a_killed_process_group_leaves_no_process(tmp_path):
    home = tmp_path / "home"
    running = start(home, 2000, start_new_session=True)
    wait_until(counting(home))
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    wait_until(lambda: not processes_of(home), 10)
