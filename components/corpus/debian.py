"""Debian packages as sources: which version apt offers, the pinned download, the unpacked files.

Nothing is installed and no root is needed: `apt-get download` fetches, we check the SHA-256 that
apt's signed index names, `dpkg -x` unpacks into the scratch directory, where both are kept.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from components.contract import EnvironmentMissing, TryAgain
from components.corpus.config import DebianPackage
from components.corpus.document import Document
from components.corpus.parsers import dictd, html, man, text, wordnet

APT_STATE = (Path("/var/lib/apt/lists"), Path("/var/lib/dpkg/status"))
"""What changes when apt's knowledge of packages does."""

_PARSERS = {
    "wordnet": (wordnet.FILES, wordnet.read),
    "dict": (dictd.FILES, dictd.read),
    "html": (html.FILES, html.read),
    "man": (man.FILES, man.read),
    "fortune": (text.FORTUNES, text.read_fortunes),
    "text": (text.FILES, text.read),
}


@dataclass(frozen=True)
class Offer:
    """Hold what apt offers under a name: version and SHA-256 of the package file."""

    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.version} sha256:{self.sha256}"

    @staticmethod
    def parse(revision: str) -> Offer:
        """Read what `str` wrote."""
        version, _, sha256 = revision.partition(" sha256:")
        return Offer(version, sha256)


def has_apt() -> bool:
    """Return whether this machine can fetch and unpack Debian packages."""
    return all(shutil.which(program) for program in ("apt-cache", "apt-get", "dpkg"))


def offers(names: Iterable[str], cache: Path) -> dict[str, Offer]:
    """Return what apt offers now for each name, from `cache` while apt's state is unchanged.

    Raises EnvironmentMissing for a name that apt does not know.
    """
    wanted = sorted(set(names))
    state = [path.stat().st_mtime_ns if path.exists() else 0 for path in APT_STATE]
    known: dict[str, Offer] = {}
    if cache.is_file():
        stored = json.loads(cache.read_text(encoding="utf-8"))
        if stored["state"] == state:
            known = {name: Offer(*offer) for name, offer in stored["offers"].items()}
    if missing := [name for name in wanted if name not in known]:
        known |= _ask_apt(missing)
        kept = {name: [offer.version, offer.sha256] for name, offer in sorted(known.items())}
        write_atomically(cache, json.dumps({"state": state, "offers": kept}))
    return {name: known[name] for name in wanted}


def _ask_apt(names: list[str]) -> dict[str, Offer]:
    shown = subprocess.run(
        ["apt-cache", "show", *names], capture_output=True, text=True, check=False
    ).stdout
    found: dict[str, Offer] = {}
    for stanza in shown.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line)
        name, digest = fields.get("Package"), fields.get("SHA256")
        # An installed version that no archive offers has no digest and cannot be fetched.
        if name and digest and name not in found:
            found[name] = Offer(fields["Version"], digest)
    if absent := [name for name in names if name not in found]:
        raise EnvironmentMissing(
            f"apt offers no package {', '.join(absent)}: its lists are empty, old or without it.\n"
            "Run `apt-get update` as root and try again, or take the source out of"
            " corpus.sources."
        )
    return found


def fetch(source: DebianPackage, revision: str, scratch: Path) -> Path:
    """Return the directory the package is unpacked in, fetching exactly `revision`.

    Raises TryAgain where the archive is away, EnvironmentMissing where it no longer has the
    version.
    """
    offer = Offer.parse(revision)
    home = scratch / "debian"
    unpacked = home / f"{source.name}_{offer.sha256[:16]}"
    if unpacked.is_dir():
        return unpacked
    home.mkdir(parents=True, exist_ok=True)
    package = home / f"{source.name}_{offer.sha256[:16]}.deb"
    if not (package.is_file() and _sha256(package) == offer.sha256):
        _download(source.name, offer, package)
    unpacking = home / f".{unpacked.name}.part"
    shutil.rmtree(unpacking, ignore_errors=True)
    subprocess.run(["dpkg", "-x", str(package), str(unpacking)], check=True, capture_output=True)
    unpacking.rename(unpacked)
    return unpacked


def _download(name: str, offer: Offer, package: Path) -> None:
    workplace = package.parent / f".{package.stem}.download"
    shutil.rmtree(workplace, ignore_errors=True)
    workplace.mkdir()
    done = subprocess.run(
        [*_tied(), "apt-get", "download", f"{name}={offer.version}"],
        cwd=workplace,
        capture_output=True,
        text=True,
        check=False,
    )
    fetched = sorted(workplace.glob("*.deb"))
    if done.returncode or not fetched:
        cause = next(iter(done.stderr.strip().splitlines()[::-1]), "no reason given")
        if "was not found" in done.stderr:
            raise EnvironmentMissing(
                f"the archive no longer has {name} {offer.version}: {cause}\n"
                "Run `apt-get update` as root and plan again."
            )
        raise TryAgain(f"apt-get download {name}={offer.version} failed: {cause}")
    if (found := _sha256(fetched[0])) != offer.sha256:
        raise TryAgain(
            f"the download of {name} {offer.version} has SHA-256 {found[:16]}, apt's index says"
            f" {offer.sha256[:16]}: the archive is being changed, or the file was damaged."
        )
    fetched[0].rename(package)
    shutil.rmtree(workplace)


def _tied() -> tuple[str, ...]:
    """Return what to put before a command so that a killed stage does not leave it behind."""
    return ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()


def documents(source: DebianPackage, root: Path, seed: int) -> Iterator[Document]:
    """Yield the documents of an unpacked package, in hash order."""
    files, read = _PARSERS[source.parser]
    paths: set[Path] = set()
    for pattern in source.include or files:
        paths.update(path for path in root.glob(pattern) if path.is_file())
    yield from read(root, sorted(path for path in paths if not path.is_symlink()), seed)


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old content or the new, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{hashlib.sha256(text.encode()).hexdigest()[:12]}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
