"""A real Ceph object gateway on this machine: monitor, one OSD in a sparse file, gateway.

Everything lies in one directory and listens on loopback, under the user who starts it, with cephx
on. Debian's packages `ceph-mon ceph-osd radosgw` are all that is needed. The keys of all daemons
are given to the monitor when it is made, which saves asking it for them one by one. There is no
manager: it serves figures, not objects, and would take 300 MB more.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.s3_server import DIES_WITH_US, S3Server, free_port, wait_for_port

PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin")
STORAGE = "8G"  # sparse: some 100 MB of it are used

_CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{port}/0]
public addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = {root}/keyring
run dir = {root}
admin socket = {root}/$name.sock
log file = {root}/$name.log
log flush on exit = false
crash dir = {root}
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
osd crush chooseleaf type = 0
[mon]
mon data = {root}/mon
mon cluster log file = {root}/cluster.log
mon data avail crit = 1
mon data avail warn = 1
[osd]
osd data = {root}/osd
osd objectstore = bluestore
osd memory target = 939524096
osd op num shards = 1
bluestore block create = true
bluestore block size = {storage}
[client]
rgw frontends = beast endpoint=127.0.0.1:{gateway}
rgw thread pool size = 32
rgw enable usage log = false
rgw lifecycle work time = 00:00-00:01
"""

_CAPABILITIES = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *"},
    "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
    "client.gateway": {"mon": "allow rw", "osd": "allow rwx"},
}


@dataclass
class Gateway(S3Server):
    """The running gateway, which may be killed and started again."""

    root: Path = Path()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the gateway and return when it listens."""
        self.process = _start(self.root, "radosgw", "-n", "client.gateway")
        wait_for_port(int(self.endpoint.rpartition(":")[2]), self.process)

    def kill(self) -> None:
        """End the gateway with SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


def missing_programs() -> list[str]:
    """Return what of Ceph is not installed."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


@contextmanager
def ceph_gateway(directory: Path, *, bucket: str = "strata") -> Generator[Gateway]:
    """Make a cluster in `directory`, an empty one, and serve S3 until the context is left."""
    gateway = Gateway(
        endpoint=f"http://127.0.0.1:{free_port()}",
        bucket=bucket,
        access_key="strata-access",
        secret_key=uuid.uuid4().hex,
        root=directory,
    )
    port = free_port()
    _configure(directory, port, int(gateway.endpoint.rpartition(":")[2]))
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        daemons.append(_start(directory, "ceph-mon", "-i", "a"))
        wait_for_port(port, daemons[0])
        identity = (directory / "osd" / "fsid").read_text().strip()
        _run(directory, "ceph", "osd", "new", identity)
        daemons.append(_start(directory, "ceph-osd", "-i", "0"))
        gateway.start()
        user = ("--uid=strata", "--display-name=strata", f"--access-key={gateway.access_key}")
        _run(directory, "radosgw-admin", "user", "create", *user, f"--secret={gateway.secret_key}")
        gateway.create_bucket()
        yield gateway
    finally:
        for process in [gateway.process, *reversed(daemons)]:
            if process is not None:
                process.kill()
                process.wait()


def _configure(root: Path, port: int, gateway: int) -> None:
    """Write the configuration and make the stores of monitor and OSD."""
    for name in ("mon", "osd"):
        (root / name).mkdir()
    fsid, identity = str(uuid.uuid4()), str(uuid.uuid4())
    text = _CONFIGURATION.format(fsid=fsid, port=port, root=root, storage=STORAGE, gateway=gateway)
    (root / "ceph.conf").write_text(text)
    keyring = str(root / "keyring")
    _run(root, "ceph-authtool", "--create-keyring", keyring)
    for name, capabilities in _CAPABILITIES.items():
        caps = [word for who, what in capabilities.items() for word in ("--cap", who, what)]
        _run(root, "ceph-authtool", keyring, "--gen-key", "-n", name, *caps)
    monmap = str(root / "monmap")
    address = f"[v2:127.0.0.1:{port}]"
    _run(root, "monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, monmap)
    _run(root, "ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
    osd = ("-i", "0", "--osd-uuid", identity, "--monmap", monmap)
    _run(root, "ceph-osd", "--mkfs", "--no-mon-config", *osd)


def _environment(root: Path) -> dict[str, str]:
    mine = {"CEPH_CONF": str(root / "ceph.conf"), "TMPDIR": str(root)}
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | mine


def _run(root: Path, *argv: str) -> None:
    done = subprocess.run(argv, env=_environment(root), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{' '.join(argv)} ended with {done.returncode}:\n{done.stderr}"


def _start(root: Path, *argv: str) -> subprocess.Popen[bytes]:
    """Start a daemon in the foreground; it ends with the tests, also when they are killed."""
    with (root / "daemons.log").open("ab") as log:
        return subprocess.Popen(
            [*DIES_WITH_US, *argv, "-f"],
            env=_environment(root),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
