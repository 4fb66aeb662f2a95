from __future__ import annotations

from pathlib import Path

import pytest

from components.artifacts.store import open_store
from components.contract import EnvironmentMissing
from components.settings import Settings
from flows.jobs import job_of
from flows.preflight import GPU_DEVICES, refuse_full, refuse_missing
from flows.recipe import resolve
from flows.run import make_plan


def refuse(home: Path, *changes: str, until: str = "") -> None:
    job = job_of(resolve("ci", assignments=changes), until=until)
    refuse_missing(
        make_plan(job, open_store(Settings(home=home))), job.resources_of, Settings(home=home)
    )


def test_a_machine_with_everything_passes(tmp_path):
    refuse(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (("agent.sandbox_tier=pods",), "step agent: sandbox tier 'pods'"),
        (("resources.agent.device=cuda",), "resources.agent.device=cpu"),
        (("resources.default.device=cuda",), "resources.default.device=cpu"),
    ],
)
def test_what_is_missing_is_told_before_anything_starts(tmp_path, changes, words):
    if "cuda" in changes[0] and any(Path(device).exists() for device in GPU_DEVICES):
        return
    with pytest.raises(EnvironmentMissing, match=words) as refused:
        refuse(tmp_path, *changes)
    assert "Nothing was started" in str(refused.value)


def test_without_bubblewrap_only_steps_that_run_commands_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    python = "corpus.sources=[" + '{"type": "python", "domain": "code"}' + "]"
    with pytest.raises(EnvironmentMissing, match=r"trajectories: .*install bubblewrap"):
        refuse(tmp_path, python)
    refuse(tmp_path, python, until="commonsense")
    refuse(tmp_path, python, "tasks.families=calculator,lookup")


def test_a_disk_with_room_keeps_the_first_error(tmp_path):
    refuse_full(tmp_path, RuntimeError("something else"))
