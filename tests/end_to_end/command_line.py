"""The command `strata` as a user calls it: a process of its own, a home of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.artifacts.manifest import Manifest
from components.artifacts.store import ArtifactStore, Attempt, open_store
from components.settings import settings
from components.tracking.journal import read_journal
from flows.runs import RunRecord, StepRecord, find_run, newest_first
from tests.processes import processes_of

STRATA = (str(Path(sys.executable).with_name("strata")),)
"""The installed console command."""
LONGEST_SECONDS = 1500.0
"""Time for one whole run on a machine that has other work; it takes 82 s on a quiet one."""


@dataclass(frozen=True)
class Answer:
    """Hold what a command left behind: exit code, data and talk."""

    code: int
    out: str
    talk: str

    @property
    def last_line(self) -> dict[str, Any]:
        """The JSON object that the last line of standard output is."""
        return json.loads(self.out.splitlines()[-1])

    @property
    def json(self) -> Any:
        """Standard output, read as one JSON value."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Home:
    """Point at a STRATA_HOME and at the directory for temporary files of what runs for it."""

    path: Path
    temporary: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    """Variables of settings and credentials, for commands and for `store`."""

    @property
    def store(self) -> ArtifactStore:
        return open_store(settings({**self.variables, "STRATA_HOME": str(self.path)}))

    @property
    def run(self) -> RunRecord:
        """The newest run."""
        return find_run(self.store)

    def start(
        self, *arguments: str, program: Sequence[str] = STRATA, python_path: Path | None = None
    ) -> Command:
        """Start a command in a session of its own; nothing of this test's settings reaches it."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("STRATA_", "PREFECT_HOME", "PYTHONPATH"))
        }
        environment |= {"STRATA_HOME": str(self.path), "TMPDIR": str(self.temporary)}
        environment |= self.variables
        if python_path is not None:
            environment["PYTHONPATH"] = str(python_path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Files, not pipes: a pipe would stay open while a child that outlives the command has it.
        out, talk = (self.path.parent / f"{self.path.name}.{name}" for name in ("out", "talk"))
        with out.open("wb") as out_file, talk.open("wb") as talk_file:
            process = subprocess.Popen(
                [*program, *arguments],
                cwd=self.path.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=talk_file,
                start_new_session=True,
            )
        return Command(process, out, talk)

    def strata(self, *arguments: str, code: int = 0, **options: Any) -> Answer:
        """Carry a command out; fails unless it ends with `code`."""
        command = self.start(*arguments, **options)
        try:
            answer = command.wait(LONGEST_SECONDS)
        finally:
            command.end()
        assert answer.code == code, answer.talk[-4000:]
        return answer

    def processes(self) -> dict[int, str]:
        """Return every process that lives for this home, by its id."""
        return processes_of(self.path, self.temporary)

    def steps(self) -> dict[str, StepRecord]:
        """Return the steps of the newest run; none before there is a run."""
        newest = next(newest_first(self.store), None)
        return newest.steps if newest else {}

    def manifest(self, step: str) -> Manifest:
        """Return the manifest of a step of the newest run."""
        record = self.run.steps[step]
        assert record.key is not None, f"{step} never got a key: {record}"
        manifest = self.store.manifest(record.stage, record.key)
        assert manifest is not None, f"{step} has no artifact: {record}"
        return manifest

    def attempts(self, step: str) -> list[Attempt]:
        """Return the attempts at a step of the newest run, oldest first."""
        record = self.steps().get(step)
        key = record.key if record else None
        return self.store.attempts(record.stage, key) if record and key else []

    def digests(self) -> dict[str, str | None]:
        """Return the content digest of every step of the newest run."""
        return {name: step.digest for name, step in self.run.steps.items()}


@dataclass(frozen=True)
class Command:
    """Hold one started command."""

    process: subprocess.Popen[bytes]
    out: Path
    talk: Path

    def wait(self, seconds: float) -> Answer:
        """Return what the command left once it has ended."""
        code = self.process.wait(seconds)
        return Answer(code, self.out.read_text("utf-8"), self.talk.read_text("utf-8"))

    def end(self) -> None:
        """End the command if it still runs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def share_done(attempt: Attempt) -> float:
    """Return the share of its work that an attempt has journalled, from 0 to 1."""
    done, total = 0.0, 0.0
    for record in read_journal(attempt.journal):
        if record["kind"] == "progress":
            done, total = float(record["done"]), float(record["total"])
        elif record["kind"] == "metric":  # of training, every step; progress comes more seldom
            done = max(done, float(record["step"]))
    return done / total if total else 0.0
