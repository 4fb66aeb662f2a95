"""The data engine's process: what it answers is tested with `deduplicate`; here, when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.processes import processes_of, wait_until

PARENT = """
import sys
from pathlib import Path
import pyarrow as pa
from components.corpus.bands import buckets
from components.corpus.config import NearDuplicates

texts = pa.chunked_array([[f"{at} tells of a river and of its {at * 7} bridges " * 40] * 400
                          for at in range(40)])
buckets(texts, NearDuplicates(bands=1000), Path(sys.argv[1]))
"""
CHILD = "-m components.corpus.bands"


def test_it_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    environment = {**os.environ, "STRATA_HOME": str(tmp_path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "scratch")], env=environment
    )
    try:
        wait_until(lambda: any(CHILD in said for said in processes_of(tmp_path).values()), 60)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not processes_of(tmp_path), 5)
