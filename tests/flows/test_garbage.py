from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from components.artifacts.local_store import LocalStore
from components.artifacts.manifest import InputRecord, Manifest, content_digest, list_files
from components.artifacts.s3_store import S3Options, S3Store
from components.artifacts.store import ArtifactStore
from components.contract import BadInput
from flows.garbage import delete_garbage, find_garbage
from flows.runs import RunRecord, StepRecord, save_run
from tests.servers.moto_server import moto_server

OLD, NEW = 1_000_000_000.0, time.time()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with moto_server(tmp_path_factory.mktemp("moto")) as running:
        yield running


@pytest.fixture(params=["local", "moto"])
def store(request, tmp_path, monkeypatch) -> ArtifactStore:
    if request.param == "local":
        return ArtifactStore(LocalStore(tmp_path / "store"), tmp_path / "locks")
    server = request.getfixturevalue("server")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    options = S3Options(endpoint=server.endpoint, region="us-east-1")
    objects = S3Store(f"s3://strata/{tmp_path.name}", tmp_path / "cache", options)
    return ArtifactStore(objects, tmp_path / "locks")


def make(store: ArtifactStore, key: str, *inputs: str, ended: float = OLD, attempt: int = 1):
    """Commit an artifact of one file, with a resume point and the records of an attempt."""
    place = f"artifacts/count/{key}/attempts/{attempt}"
    files = store.objects.directory(f"{place}/files")
    (files / "x").write_text(f"{key} {attempt}")
    store.objects.publish(f"{place}/files")
    store.objects.write(f"{place}/resume/step-1/values.json", b"{}")
    store.objects.write(f"{place}/progress.json", json.dumps({"time": ended}).encode())
    listed = list_files(files)
    manifest = Manifest(
        stage="count",
        step="count",
        key=key,
        digest=content_digest(listed),
        facts={},
        config={},
        inputs=tuple(
            InputRecord(name="before", stage="count", step="count", key=key, digest="")
            for key in inputs
        ),
        code_digest="",
        code_modules={},
        packages={},
        revisions={},
        numerics={},
        seed=None,
        files=listed,
        attempt=attempt,
        fence=attempt,
        run="run",
        host="host",
        started=ended,
        ended=ended,
    )
    store.commit(manifest)


def refer(store: ArtifactStore, run: str, *keys: str, state="done"):
    steps = {f"s{n}": StepRecord(position=n, stage="count", key=key) for n, key in enumerate(keys)}
    save_run(
        store,
        RunRecord(
            id=run, recipe="r", identity="", resolved={}, created=OLD, state=state, steps=steps
        ),
    )


def kinds(store: ArtifactStore, days: float = 30) -> list[tuple[str, str]]:
    return [(garbage.kind, garbage.key) for garbage in find_garbage(store, days)[0]]


def test_what_a_run_needs_itself_or_through_inputs_is_kept(store):
    make(store, "a")
    make(store, "b", "a")
    make(store, "c", "b")
    make(store, "stray", "a")
    refer(store, "r1", "c", "never-made", state="running")
    assert [entry for entry in kinds(store) if entry[0] == "artifact"] == [("artifact", "stray")]
    store.objects.delete("runs/r1")
    artifacts = [key for kind, key in kinds(store) if kind == "artifact"]
    assert artifacts == ["a", "b", "c", "stray"]


def test_only_what_is_old_enough_goes(store):
    make(store, "old")
    make(store, "new", ended=NEW - 86_400)
    store.objects.write("artifacts/count/unknown/attempts/1/fence", b"")
    request = b'{"run": "20200101-000000000-toy-abcd"}'
    store.objects.write("artifacts/count/failed/attempts/1/request.json", request)
    assert kinds(store) == [("attempts", "failed"), ("artifact", "old")]
    assert len(kinds(store, days=0.5)) == 3, "an attempt of unknown age is kept"


def test_deleting_takes_the_whole_artifact_and_says_how_much(store):
    make(store, "stray")
    make(store, "kept")
    refer(store, "r1", "kept")
    size = sum(store.objects.sizes("artifacts/count/stray").values())
    found, census = find_garbage(store, 30)
    stray = next(garbage for garbage in found if garbage.key == "stray")
    assert stray.bytes == size > 0
    assert stray.names[0].endswith("manifest.json"), "half deleted, it does not exist"
    assert delete_garbage(store, stray, census)
    assert list(store.keys()) == [("count", "kept")]
    assert store.manifest("count", "kept") is not None


def test_losers_resume_points_and_condemned_manifests_go_and_records_stay(store):
    make(store, "k", attempt=2)
    lost = "artifacts/count/k/attempts/1"
    for name, data in {
        "files/x": b"loser",
        "resume/step-1/values.json": b"{}",
        "request.json": b"{}",
        "journal/0": b"line",
    }.items():
        store.objects.write(f"{lost}/{name}", data)
    store.objects.write(f"artifacts/count/k/condemned/{int(OLD * 1e9)}.json", b"{}")
    store.objects.write(f"artifacts/count/k/condemned/{time.time_ns()}.json", b"{}")
    refer(store, "r1", "k")
    found, census = find_garbage(store, 30)
    assert [garbage.kind for garbage in found] == ["condemned", "losing attempt", "resume points"]
    assert all(delete_garbage(store, garbage, census) for garbage in found)
    left = store.objects.sizes("artifacts/count/k")
    assert "attempts/2/files/x" in left
    assert {"attempts/1/request.json", "attempts/1/journal/0"} <= left.keys()
    assert not [name for name in left if "resume" in name or name == "attempts/1/files/x"]
    assert len([name for name in left if name.startswith("condemned/")]) == 1
    assert find_garbage(store, 30)[0] == []


def test_a_run_that_came_meanwhile_keeps_what_was_garbage(store):
    make(store, "a")
    make(store, "b", "a")
    refer(store, "r0")
    found, census = find_garbage(store, 30)
    refer(store, "r1", "b", state="running")
    assert [delete_garbage(store, garbage, census) for garbage in found] == [False, False]
    assert store.manifest("count", "a") is not None


def test_a_key_that_is_worked_on_is_left_alone(store, tmp_path):
    make(store, "a")
    found, census = find_garbage(store, 30)
    other = ArtifactStore(store.objects, tmp_path / "locks")
    code = (
        "import sys; from pathlib import Path; from filelock import FileLock\n"
        "lock = FileLock(Path(sys.argv[1])); lock.acquire(); print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    (tmp_path / "locks").mkdir(exist_ok=True)
    argv = [sys.executable, "-c", code, str(tmp_path / "locks" / "a.lock")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        assert not delete_garbage(other, found[0], census)
        holder.stdin.close()
    assert delete_garbage(other, found[0], census)


def test_a_run_record_that_cannot_be_read_stops_everything(store):
    make(store, "a")
    store.objects.write("runs/torn/run.json", b"{")
    with pytest.raises(BadInput, match=r"runs/torn/run\.json cannot be read"):
        find_garbage(store, 30)
