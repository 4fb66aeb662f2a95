from __future__ import annotations

import contextlib
import signal
from typing import Any

import pytest

from components.artifacts.store import open_store
from components.contract import StageFailure, TryAgain
from components.execution.launch import Handle, Launcher, Status
from components.settings import Settings
from flows.attempts import Interrupted
from flows.run import carry_out, directly, make_plan
from flows.runs import find_run
from tests.sample_pipeline import job, unwatched


@pytest.mark.parametrize(("stopped_by", "code"), [(0, 130), (signal.SIGINT, 130), (15, 143)])
def test_a_stop_ends_with_the_code_of_its_signal(stopped_by, code):
    assert Interrupted("stopped", stopped_by).exit_code == code


def test_what_an_attempt_left_running_made_meanwhile_is_not_made_again(tmp_path):
    settings = Settings(home=tmp_path / "home", launcher="in_process")
    store, asked = open_store(settings), job()
    carry_out(asked, settings, make_plan(asked, store), engine=directly, watcher=unwatched)
    key = find_run(store).steps["first"].key
    path = f"artifacts/count/{key}/manifest.json"
    manifest = store.objects.read(path)
    store.objects.delete(path)

    class Slots(contextlib.AbstractContextManager[None]):
        """Let the other attempt end while this run waits."""

        def __enter__(self) -> None:
            store.objects.create(path, manifest)

        def __exit__(self, *_: object) -> None: ...

    @contextlib.contextmanager
    def late(run):
        run.slots = Slots()
        yield

    carry_out(asked, settings, make_plan(asked, store), engine=directly, watcher=late)
    assert store.manifest("count", key) is not None
    assert len(store.attempts("count", key)) == 1


def test_a_cluster_that_is_away_between_two_attempts_ends_no_run(tmp_path):
    settings = Settings(home=tmp_path / "home", launcher="in_process")
    store, asked = open_store(settings), job(until="first")
    answers = iter([TryAgain("the API does not answer")])

    class Away:
        """Answer no question after an attempt, once."""

        def __init__(self, launcher: Launcher) -> None:
            self._launcher = launcher

        def find(self, *place: Any) -> None:
            for error in answers:
                raise error

        def __getattr__(self, name: str) -> Any:
            return getattr(self._launcher, name)

    @contextlib.contextmanager
    def away(run):
        run.launcher = Away(run.launcher)
        yield

    plan = make_plan(asked, store)
    store.new_attempt("count", plan.steps["first"].key)
    outcome = carry_out(asked, settings, plan, engine=directly, watcher=away)
    assert outcome.record.state == "done"
    assert next(answers, None) is None


def test_an_attempt_that_ends_well_and_leaves_nothing_is_made_again_once(tmp_path):
    settings = Settings(home=tmp_path / "home", launcher="in_process")
    store, asked = open_store(settings), job(until="first")

    class Forgetful:
        """Lose the artifacts of so many attempts."""

        def __init__(self, launcher: Launcher, times: int) -> None:
            self._launcher, self._times = launcher, times

        def wait(self, handle: Handle, timeout: float) -> Status:
            ended = self._launcher.wait(handle, timeout)
            if self._times:
                self._times -= 1
                store.objects.delete(f"artifacts/count/{handle.key}/manifest.json")
            return ended

        def __getattr__(self, name: str) -> Any:
            return getattr(self._launcher, name)

    def run(times: int):
        @contextlib.contextmanager
        def forgetting(run):
            run.launcher = Forgetful(run.launcher, times)
            yield

        plan = make_plan(asked, store)
        return carry_out(asked, settings, plan, engine=directly, watcher=forgetting)

    with pytest.raises(StageFailure, match="attempt 2 ended well, but its artifact is not in"):
        run(times=2)
    assert run(times=1).record.steps["first"].attempt == 4
