"""What every object store keeps, tried on a directory, on moto, and on a real Ceph gateway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.artifacts.local_store import LocalStore
from components.artifacts.manifest import FileRecord, list_files
from components.artifacts.objects import ObjectStore
from components.artifacts.probe import probe
from components.artifacts.s3_store import S3Options, S3Store
from components.contract import BadInput, EnvironmentMissing, NotFound, TryAgain
from tests.processes import wait_until
from tests.servers.ceph import Gateway, ceph_gateway, missing_programs
from tests.servers.faulty_proxy import FaultyProxy, faulty_proxy
from tests.servers.moto_server import moto_server
from tests.servers.s3_server import S3Server

PART = 5 << 20
"""The smallest part that S3 takes."""
ROOT = Path(__file__).parents[3]


@dataclass
class Place:
    """Where the stores of one test lie: alone under a prefix, or in a directory."""

    directory: Path
    server: S3Server | None = None

    def open(self, machine: str = "here", *, bucket: str = "", **options) -> ObjectStore:
        """Open the store as a machine with a cache of its own does."""
        if self.server is None:
            return LocalStore(self.directory / "store")
        name = bucket or self.server.bucket
        wanted = {"endpoint": self.server.endpoint, "ca_bundle": self.server.ca_bundle}
        wanted |= {"region": "us-east-1", "patience": 60.0, "timeout": 10.0}
        wanted |= {"part_bytes": PART} | options
        uri = f"s3://{name}/{self.directory.name}"
        return S3Store(uri, self.directory / machine, S3Options(**wanted))

    def damage(self, name: str, data: bytes) -> None:
        """Change an object's bytes behind the store's back, keeping what it says of itself."""
        assert self.server is not None
        client, key = self.server.client(), f"{self.directory.name}/{name}"
        where = {"Bucket": self.server.bucket, "Key": key}
        client.put_object(**where, Body=data, Metadata=client.head_object(**where)["Metadata"])

    def written_at(self) -> dict[str, object]:
        """Return when each object was written."""
        assert self.server is not None
        found = self.server.client().list_objects_v2(
            Bucket=self.server.bucket, Prefix=f"{self.directory.name}/"
        )
        return {entry["Key"]: entry["LastModified"] for entry in found.get("Contents", ())}

    @contextmanager
    def proxy(self) -> Iterator[tuple[FaultyProxy, Place]]:
        """Put a faulty proxy before the server; it comes with the place as seen through it."""
        assert self.server is not None
        with faulty_proxy(int(self.server.endpoint.rpartition(":")[2])) as proxy:
            seen = S3Server(
                **{
                    field: getattr(self.server, field)
                    for field in ("bucket", "access_key", "secret_key", "ca_bundle")
                },
                endpoint=f"http://127.0.0.1:{proxy.port}",
            )
            yield proxy, Place(self.directory, seen)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], S3Server]]:
    """Start a server when the first test asks for it."""
    running: dict[str, S3Server] = {}
    makers = {"moto": moto_server, "ceph": ceph_gateway}
    with ExitStack() as stack:

        def start(name: str) -> S3Server:
            if name not in running:
                directory = tmp_path_factory.mktemp(name)
                running[name] = stack.enter_context(makers[name](directory))
            return running[name]

        yield start


@pytest.fixture(params=["local", "moto", "ceph"])
def place(request, servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    own = tmp_path / uuid.uuid4().hex
    own.mkdir()
    if request.param == "local":
        return Place(own)
    if request.param == "ceph" and (missing := missing_programs()):
        pytest.skip(f"Ceph is not installed: {', '.join(missing)}")
    server = servers(request.param)
    for name, value in server.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return Place(own, server)


in_buckets = pytest.mark.parametrize("place", ["moto", "ceph"], indirect=True)
on_moto = pytest.mark.parametrize("place", ["moto"], indirect=True)
on_ceph = pytest.mark.parametrize("place", ["ceph"], indirect=True)


# ---- the protocol, on all three


def test_bytes_are_read_as_written_replaced_and_deleted(place: Place):
    store = place.open()
    assert store.read("a/b") is None
    store.write("a/b", b"1")
    store.write("a/b", b"")
    store.write("a/c/d", bytes(range(256)))
    assert store.read("a/b") == b""
    assert place.open("there").read("a/c/d") == bytes(range(256))
    assert store.read("a") is None
    store.delete("a/b")
    store.delete("a/b")
    assert store.sizes("a") == {"c/d": 256}


def test_names_are_those_directly_under_a_prefix_in_order(place: Place):
    store = place.open()
    for name in ("a/b", "a-b/x", "a.b/x", "a/c/d", "a/c/e", "z"):
        store.write(name, b"1")
    assert list(store.names("")) == ["a", "a-b", "a.b", "z"]
    assert list(store.names("a")) == ["b", "c"]
    assert list(store.names("a/c")) == ["d", "e"]
    assert list(store.names("nothing")) == []
    assert store.sizes("nothing") == {}
    assert store.sizes("a") == {"b": 1, "c/d": 1, "c/e": 1}


def test_delete_takes_what_is_under_a_name_and_nothing_beside_it(place: Place):
    store = place.open(page=2)
    for name in ("a/1", "a/2", "a/3/4", "a/5", "a-b", "ab/c"):
        store.write(name, b"1")
    store.directory("a/files")
    store.delete("a")
    assert list(store.names("")) == ["a-b", "ab"]
    assert not [path for path in store.directory("a").rglob("*") if path.is_file()]
    store.delete("never-was")


def test_create_refuses_a_second_writer_until_the_first_is_deleted(place: Place):
    store = place.open()
    assert store.create("a/b", b"first")
    assert not place.open("there").create("a/b", b"second")
    assert store.read("a/b") == b"first"
    store.delete("a/b")
    assert store.create("a/b", b"third")


def test_of_sixteen_racing_writers_exactly_one_creates(place: Place):
    stores = [place.open(f"machine-{n}") for n in range(16)]
    for turn in range(3):
        start = threading.Barrier(16)

        def create(n: int, name: str = f"race/{turn}", start: threading.Barrier = start) -> bool:
            start.wait()
            return stores[n].create(name, str(n).encode())

        with ThreadPoolExecutor(16) as pool:
            won = list(pool.map(create, range(16)))
        assert won.count(True) == 1
        assert stores[0].read(f"race/{turn}") == str(won.index(True)).encode()


def test_what_one_machine_publishes_another_fetches(place: Place):
    store = place.open()
    files = store.directory("k/files")
    (files / "sub").mkdir()
    (files / "empty").touch()
    (files / "small.json").write_bytes(b"{}")
    (files / "sub" / "large.bin").write_bytes(os.urandom(2 * PART + 17))
    records = list_files(files)
    store.publish("k/files")
    assert store.sizes("k/files") == {record.path: record.bytes for record in records}
    for wanted in (records, None):
        found = place.open(f"there-{wanted is None}").fetch("k/files", wanted)
        assert list_files(found) == records
    assert list_files(place.open("new").fetch("k/files", records[:1]))[:1] == records[:1]


def test_a_probe_finds_nothing_to_complain_of_and_leaves_nothing(place: Place):
    store = place.open()
    assert probe(store) == []
    assert store.sizes("probe") == {}


# ---- files to and from a bucket


@in_buckets
def test_a_flipped_byte_or_a_missing_object_is_found_on_fetch(place: Place):
    store = place.open()
    files = store.directory("k/files")
    small, large = os.urandom(1000), os.urandom(PART + 1000)
    for name, data in {"small": small, "large": large}.items():
        (files / name).write_bytes(data)
    records = {record.path: record for record in list_files(files)}
    store.publish("k/files")
    for name, data in {"small": small, "large": large}.items():
        place.damage(f"k/files/{name}", data[:700] + bytes([data[700] ^ 1]) + data[701:])
        for wanted in ([records[name]], None):
            there_name = f"there-{name}-{wanted is None}"
            there = place.open(there_name)
            with pytest.raises(NotFound, match=f"s3://.*/k/files/{name} has other bytes"):
                there.fetch("k/files", wanted)
            left = list((place.directory / there_name).rglob(f"*{name}*"))
            assert left == [], "neither the file nor its temporary name"
        place.damage(f"k/files/{name}", data[:-1])
        with pytest.raises(NotFound, match=f"s3://.*/k/files/{name} "):
            place.open("short").fetch("k/files", [records[name]])
        store.delete(f"k/files/{name}")
        with pytest.raises(NotFound, match=f"s3://.*/k/files/{name} is missing"):
            place.open("none").fetch("k/files", [records[name]])


@in_buckets
def test_fetch_brings_only_what_is_not_there(place: Place):
    store = place.open()
    files = store.directory("k")
    for n in range(4):
        (files / str(n)).write_bytes(f"number {n}".encode())
    records = list_files(files)
    store.publish("k")
    with place.proxy() as (proxy, seen):
        there = seen.open("there")
        found = there.fetch("k", records[:3])
        (found / "1").write_bytes(b"NUMBER 1")
        before = len(proxy.requests)
        there.fetch("k", records)
        gets = [line for line in proxy.requests[before:] if line.startswith("GET")]
        assert sorted(line.split()[1].rpartition("/")[2] for line in gets) == ["1", "3"]
    assert list_files(found) == records


@in_buckets
def test_temporary_and_vanishing_files_are_not_published(place: Place):
    store = place.open()
    files = store.directory("k")
    (files / ".hidden").mkdir()
    for name in (".hidden/x", ".journal.12.34", "step-1.tmp", "kept"):
        (files / name).write_bytes(b"1")
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            for n in range(20):
                (files / f"step-{n}").mkdir(exist_ok=True)
                (files / f"step-{n}" / "values.json").write_bytes(b"{}")
                (files / f"step-{n}").rename(files / f"gone-{n}")
                (files / f"gone-{n}" / "values.json").unlink()
                (files / f"gone-{n}").rmdir()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(10):
            store.publish("k")
    finally:
        stop.set()
        thread.join()
    there = store.sizes("k")
    assert there["kept"] == 1
    assert not [name for name in there if not name.startswith(("kept", "step-", "gone-"))]


@in_buckets
def test_a_manifest_is_published_after_its_neighbours(place: Place):
    with place.proxy() as (proxy, seen):
        store = seen.open()
        for name in ("step-1/manifest.json", "step-1/values.json", "step-1/z", "a"):
            path = store.directory("k") / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"{}")
        store.publish("k")
        puts = [line.split()[1] for line in proxy.requests if line.startswith("PUT")]
    assert puts[-1].endswith("manifest.json")
    assert len(puts) == 4


@in_buckets
def test_a_killed_publish_goes_on_where_it_was(place: Place):
    code = (
        "import sys, json; from pathlib import Path\n"
        "from components.artifacts.s3_store import S3Options, S3Store\n"
        "uri, cache, options = sys.argv[1:]\n"
        "S3Store(uri, Path(cache), S3Options(**json.loads(options))).publish('k')\n"
    )
    store = place.open()
    files = store.directory("k")
    for n in range(40):
        (files / f"{n:02}").write_bytes(os.urandom(40_000))
    records = list_files(files)
    cache = str(place.directory / "here")
    with place.proxy() as (proxy, seen):
        proxy.faults = [""] * 8 + ["hang"] * 100  # a listing and seven files
        options = {"endpoint": seen.server.endpoint, "region": "us-east-1", "parallel": 1}
        argv = [sys.executable, "-c", code, store.uri, cache, json.dumps(options)]
        with subprocess.Popen(argv, cwd=ROOT) as child:
            wait_until(lambda: len(proxy.requests) == 9)
            child.kill()
    before = place.written_at()
    assert len(before) == 7
    store.publish("k")
    after = place.written_at()
    assert len(after) == 40
    assert before.items() <= after.items(), "what was there is not sent again"
    assert list_files(place.open("there").fetch("k", records)) == records


@in_buckets
def test_a_changed_file_is_published_again(place: Place):
    store = place.open()
    path = store.directory("k") / "progress.json"
    for text in ("1", "2", "33"):
        path.write_text(text)
        store.publish("k")
        assert place.open("there").fetch("k").joinpath("progress.json").read_text() == text
        store.publish("k")
    assert store.read("k/progress.json") == b"33"


@in_buckets
def test_large_files_pass_through_little_memory(place: Place):
    code = (
        "import sys, json, resource; from pathlib import Path\n"
        "from components.artifacts.manifest import list_files\n"
        "from components.artifacts.s3_store import S3Options, S3Store\n"
        "uri, here, there, options = sys.argv[1:]\n"
        "options = S3Options(**json.loads(options))\n"
        "store = S3Store(uri, Path(here), options)\n"
        "store.write('warm', b'up'); store.read('warm'); store.publish('warm')\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "store.publish('k')\n"
        "S3Store(uri, Path(there), options).fetch('k', list_files(store.directory('k')))\n"
        "print(peak() - before)\n"
    )
    store = place.open()
    with (store.directory("k") / "large").open("wb") as file:
        for _ in range(16):
            file.write(os.urandom(PART))
    options = {
        "endpoint": place.server.endpoint,
        "region": "us-east-1",
        "parallel": 2,
        "part_bytes": PART,
    }
    here, there = str(place.directory / "here"), str(place.directory / "there")
    done = subprocess.run(
        [sys.executable, "-c", code, store.uri, here, there, json.dumps(options)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) * 1024 < 10 * PART, "a file of 16 parts, three of them at once"


@in_buckets
def test_names_and_sizes_go_over_many_pages(place: Place):
    count, page = (1100, 1000) if not isinstance(place.server, Gateway) else (35, 10)
    store = place.open(page=page)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.write(f"many/{n:04}/x", b"1"), range(count)))
    assert list(store.names("many")) == [f"{n:04}" for n in range(count)]
    assert len(store.sizes("many")) == count
    store.delete("many")
    assert store.sizes("many") == {}


@in_buckets
def test_a_name_never_leads_out_of_the_cache(place: Place):
    store = place.open()
    store.write("k/../../outside", b"1")
    with pytest.raises(BadInput, match="no name of an object"):
        store.fetch("k")
    with pytest.raises(BadInput, match="no name of an object"):
        store.fetch("k", [FileRecord(path="../../outside", bytes=1, sha256="")])


@in_buckets
def test_a_presigned_url_reads_without_credentials(place: Place):
    store = place.open()
    store.write("k/name with spaces", b"content")
    url = store.presigned_url("k/name with spaces", 60)
    assert place.server.secret_key not in url
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"content"


# ---- faults


@in_buckets
def test_a_writer_whose_answer_was_lost_knows_its_own_object(place: Place):
    with place.proxy() as (proxy, seen):
        store = seen.open()
        proxy.faults = ["swallow"]
        assert store.create("a", b"mine")
        proxy.faults = ["swallow", "swallow"]
        assert store.create("b", b"mine")
        proxy.faults = ["swallow"]
        assert not store.create("a", b"another")
    assert place.open().read("a") == b"mine"


@in_buckets
def test_faults_that_pass_are_outlived(place: Place):
    data = os.urandom(2 * PART)
    with place.proxy() as (proxy, seen):
        store = seen.open(parallel=2)
        (store.directory("k") / "large").write_bytes(data)
        records = list_files(store.directory("k"))
        for fault in ("busy", "reset", "swallow"):
            for at in range(5):  # listing, start, two parts, completion
                proxy.faults = [""] * at + [fault]
                store.publish("k")
                assert proxy.faults == []
                assert store.sizes("k") == {"large": len(data)}
                place.open().delete("k/large")
                (store.directory("k") / "large").write_bytes(data)
        store.publish("k")
        for fault in ("busy", "reset", "cut"):
            proxy.faults = [fault, "", fault]
            there = seen.open(f"there-{fault}").fetch("k", records)
            assert list_files(there) == records
            assert proxy.faults == []


@in_buckets
def test_a_server_that_stays_away_ends_in_try_again(place: Place):
    with place.proxy() as (proxy, seen):
        store = seen.open(patience=0.5)
        proxy.faults = ["busy"] * 1000
        with pytest.raises(TryAgain) as busy:
            store.read("a")
    with pytest.raises(TryAgain) as gone:
        store.create("a", b"1")
    for raised in (busy, gone):
        text = str(raised.value)
        assert place.server.bucket in text
        assert f"http://127.0.0.1:{proxy.port}" in text
        assert raised.value.exit_code == 75
    assert "SlowDown" in str(busy.value)


@in_buckets
def test_a_bucket_that_does_not_exist_is_named(place: Place):
    store = place.open(bucket="no-such-bucket")
    for use in (
        lambda: store.read("a"),
        lambda: store.write("a", b""),
        lambda: store.create("a", b""),
        lambda: list(store.names("")),
        lambda: store.fetch("k"),
        lambda: store.delete("k"),
    ):
        with pytest.raises(EnvironmentMissing, match=r"no-such-bucket.*no such bucket"):
            use()


@in_buckets
def test_without_credentials_nothing_is_asked(place: Place, monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(place.directory / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(place.directory / "none"))
    with pytest.raises(EnvironmentMissing, match="no credentials"):
        place.open().read("a")


@on_ceph
def test_wrong_credentials_are_told_apart_and_not_printed(
    place: Place, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
    with pytest.raises(EnvironmentMissing, match="secret key does not belong") as wrong:
        place.open().create("a", b"")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-wrong-key")
    with pytest.raises(EnvironmentMissing, match="access key is not known") as unknown:
        place.open().create("a", b"")
    for text in (str(wrong.value), str(unknown.value)):
        assert "AWS_SECRET_ACCESS_KEY" in text
        assert "a-wrong" not in text
    assert wrong.value.exit_code == 3


@on_ceph
def test_a_clock_that_is_wrong_is_named(place: Place):
    code = (
        "import sys; from pathlib import Path\n"
        "from components.artifacts.s3_store import S3Options, S3Store\n"
        "options = S3Options(endpoint=sys.argv[3], region='us-east-1')\n"
        "S3Store(sys.argv[1], Path(sys.argv[2]), options).read('a')\n"
    )
    argv = ["faketime", "-f", "+2h", sys.executable, "-c", code]
    place_of = [place.open().uri, str(place.directory / "skewed"), place.server.endpoint]
    done = subprocess.run([*argv, *place_of], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "EnvironmentMissing" in done.stderr
    assert "clock" in done.stderr


@on_ceph
def test_a_gateway_killed_under_writers_loses_nothing_it_acknowledged(place: Place):
    store = place.open()
    acknowledged: dict[str, bytes] = {}
    stop = threading.Event()

    def keep_writing(writer: int) -> None:
        n = 0
        while not stop.is_set():
            name, data = f"w{writer}/{n}", os.urandom(2000)
            assert store.create(name, data), "its own try is the only one"
            acknowledged[name] = data
            n += 1

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(keep_writing, n) for n in range(4)]
        try:
            for _ in range(3):
                seen = len(acknowledged)
                wait_until(lambda seen=seen: len(acknowledged) > seen + 8)
                place.server.kill()
                place.server.start()
        finally:
            stop.set()
        for writer in writers:
            writer.result()
    assert len(acknowledged) > 24
    assert {name: store.read(name) for name in acknowledged} == acknowledged


# ---- what a probe is for, and TLS


class Forgetful(LocalStore):
    """A fake: a store of this machine that ignores the condition of `create`."""

    def create(self, name: str, data: bytes) -> bool:
        self.write(name, data)
        return True


def test_a_probe_names_a_store_that_does_not_refuse(tmp_path: Path):
    assert "second writer" in probe(Forgetful(tmp_path))[0]


def test_a_certificate_is_checked_against_the_bundle(tmp_path: Path, monkeypatch):
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            str(key),
            "-out",
            str(certificate),
        ],
        check=True,
        capture_output=True,
    )
    with moto_server(tmp_path, certificate=(certificate, key)) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        place = Place(tmp_path, server)
        assert place.open().create("a", b"1")
        with pytest.raises(EnvironmentMissing, match="STRATA_S3_CA_BUNDLE"):
            place.open(ca_bundle="").read("a")
        with pytest.raises(EnvironmentMissing, match="there is no file"):
            place.open(ca_bundle=str(tmp_path / "none.pem"))
