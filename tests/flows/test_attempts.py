from __future__ import annotations

import contextlib
import signal

import pytest

from components.artifacts.store import open_store
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
