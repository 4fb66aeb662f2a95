from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.artifacts.local_store import LocalStore
from components.artifacts.manifest import Manifest, content_digest, list_files
from components.artifacts.store import ArtifactStore
from components.contract import BadInput, NotFound


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(LocalStore(tmp_path / "store"), tmp_path / "locks")


def commit(store: ArtifactStore, key: str = "k" * 64, text: str = "content") -> Manifest:
    attempt = store.new_attempt("count", key)
    attempt.files.mkdir()
    (attempt.files / "x.txt").write_text(text)
    files = list_files(attempt.files)
    manifest = Manifest(
        stage="count",
        step="count",
        key=key,
        digest=content_digest(files),
        facts={},
        config={},
        inputs=(),
        code_digest="",
        code_modules={},
        packages={},
        revisions={},
        numerics={},
        seed=None,
        files=files,
        attempt=attempt.number,
        fence=attempt.number,
        run="run",
        host="host",
        started=1.0,
        ended=3.0,
    )
    store.commit(manifest)
    return manifest


def test_of_sixteen_racing_writers_one_creates(tmp_path: Path):
    objects = LocalStore(tmp_path)
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda n: objects.create("a/name", str(n).encode()), range(16)))
    assert won.count(True) == 1
    assert objects.read("a/name") == str(won.index(True)).encode()
    assert list(objects.names("a")) == ["name"], "no temporary file stays"


def test_write_replaces_and_delete_is_thorough(tmp_path: Path):
    objects = LocalStore(tmp_path)
    assert objects.read("a/b") is None
    objects.write("a/b", b"1")
    objects.write("a/b", b"2")
    assert objects.read("a/b") == b"2"
    objects.delete("a")
    objects.delete("a")
    assert list(objects.names("a")) == []


def test_attempt_numbers_only_grow_even_in_a_race(store: ArtifactStore):
    with ThreadPoolExecutor(16) as pool:
        numbers = list(pool.map(lambda _: store.new_attempt("count", "k").number, range(16)))
    assert sorted(numbers) == list(range(1, 17))
    assert store.fence("count", "k") == 16
    assert store.fence("count", "other") == 0


def test_the_first_manifest_wins(store: ArtifactStore):
    first = commit(store)
    second = commit(store, text="other")
    assert store.manifest("count", first.key) == first != second
    assert first.seconds == 2.0
    assert first.bytes == 7


def test_damage_is_found_and_condemned(store: ArtifactStore):
    manifest = commit(store)
    path = store.files(manifest) / "x.txt"
    assert store.missing(manifest) == store.damaged(manifest) == []
    path.write_text("CONTENT")
    assert store.missing(manifest) == []
    assert store.damaged(manifest) == ["x.txt has other bytes than its manifest says"]
    path.write_text("longer content")
    assert store.missing(manifest) == ["x.txt has 14 bytes instead of 7"]
    path.unlink()
    assert store.missing(manifest) == ["x.txt is missing"]
    store.condemn(manifest)
    assert store.manifest("count", manifest.key) is None
    assert len(list(store.objects.names(f"artifacts/count/{manifest.key}/condemned"))) == 1
    again = commit(store)
    store.condemn(manifest)
    assert store.manifest("count", manifest.key) == again, "only the damaged attempt is condemned"


@pytest.mark.parametrize("damage", [b"", b"{", b'{"format": 1}', b"digest"])
def test_a_damaged_manifest_counts_as_none_until_it_is_set_aside(store: ArtifactStore, damage):
    manifest = commit(store)
    place = f"artifacts/count/{manifest.key}/manifest.json"
    whole = store.objects.read(place) or b""
    other = whole.replace(manifest.digest.encode(), b"0" * 64)
    store.objects.write(place, other if damage == b"digest" else damage)
    assert store.manifest("count", manifest.key) is None
    assert store.unreadable("count", manifest.key)
    assert list(store.manifests()) == []
    store.condemn_unreadable("count", manifest.key)
    assert not store.unreadable("count", manifest.key)
    again = commit(store)
    assert store.manifest("count", manifest.key) == again


def test_a_manifest_of_a_newer_version_is_never_set_aside(store: ArtifactStore):
    manifest = commit(store)
    place = f"artifacts/count/{manifest.key}/manifest.json"
    store.objects.write(place, b'{"format": 2, "new": true}')
    with pytest.raises(BadInput, match="format 2, this version of Strata reads 1"):
        store.condemn_unreadable("count", manifest.key)
    assert store.objects.read(place)


def test_a_failed_write_names_its_path_and_leaves_nothing(tmp_path: Path):
    objects = LocalStore(tmp_path)
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from components.artifacts.local_store import LocalStore\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "LocalStore(Path(sys.argv[1])).write('a/name', b'x' * 100)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert f"'{tmp_path}/a/name'" in done.stderr
    assert list(objects.names("a")) == []


def test_find_by_prefix_says_what_is_wrong(store: ArtifactStore):
    first = commit(store, "a1" + "0" * 62)
    commit(store, "a2" + "0" * 62, "other")
    assert store.find("a1") == first == store.find(first.digest[:10])
    with pytest.raises(BadInput, match="more digits"):
        store.find("a")
    with pytest.raises(NotFound, match="zz"):
        store.find("zz")
    assert [manifest.key[:2] for manifest in store.manifests()] == ["a1", "a2"]


def test_a_lock_keeps_other_processes_out_and_goes_with_its_holder(store, tmp_path: Path):
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from components.artifacts.local_store import LocalStore\n"
        "from components.artifacts.store import ArtifactStore\n"
        "root = Path(sys.argv[1])\n"
        "with ArtifactStore(LocalStore(root / 'store'), root / 'locks').lock('key'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    argv = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TimeoutError, match="another process"), store.lock("key", timeout=0.1):
            pass
        holder.kill()
    with store.lock("key", timeout=5), store.lock("key", timeout=0):
        pass
