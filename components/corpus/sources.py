"""Sources of documents: what each holds now, and its documents at that revision.

`revisions` is part of every plan: it reads no data that it has read before and imports no data
engine. Where apt does not exist, a Debian package with a fallback stands for the doc-strings of
Python packages, and its revision says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from components.contract import BadInput, EnvironmentMissing
from components.corpus import debian, hugging_face, local_files, python_packages
from components.corpus.config import (
    CorpusConfig,
    DebianPackage,
    HuggingFaceDataset,
    LocalFiles,
    PythonPackage,
    Source,
    label,
)
from components.corpus.document import Document
from components.settings import settings

FALLBACK = "fallback "


def revisions(config: CorpusConfig) -> dict[str, str]:
    """Return the revision of each source: what it holds now, wherever it lies.

    Raises BadInput for a local path that names nothing, EnvironmentMissing for a package that
    cannot be had here, TryAgain where the hub is away.
    """
    cache = settings().scratch / "corpus"
    packages = [source.name for source in config.sources if isinstance(source, DebianPackage)]
    offered: dict[str, debian.Offer] = {}
    if packages and debian.has_apt():
        offered = debian.offers(packages, cache / "apt.json")
    found: dict[str, str] = {}
    for source in config.sources:
        if isinstance(source, DebianPackage) and source.name in offered:
            found[label(source)] = str(offered[source.name])
        else:
            found[label(source)] = _revision(source, cache)
    return found


def _revision(source: Source, cache: Path) -> str:
    if isinstance(source, LocalFiles):
        return local_files.revision(source, cache / f"files-{source.name}.json")
    if isinstance(source, HuggingFaceDataset):
        return hugging_face.revision(source)
    if isinstance(source, PythonPackage):
        return python_packages.revision(source.name, cache / "stdlib.json")
    if not source.fallback:
        raise EnvironmentMissing(
            f"the source {label(source)} needs apt-get, apt-cache and dpkg, which this machine"
            " lacks.\nTake it out of corpus.sources, or give it a fallback of Python packages."
        )
    parts = (
        f"{name}={python_packages.revision(name, cache / 'stdlib.json')}"
        for name in source.fallback
    )
    return FALLBACK + "; ".join(parts)


def documents(source: Source, revision: str, *, seed: int, scratch: Path) -> Iterator[Document]:
    """Yield the documents of a source at exactly `revision`, in an order that `seed` decides.

    Raises BadInput where a local source changed since its revision was resolved, and what the
    kinds of source raise.
    """
    if isinstance(source, DebianPackage):
        if revision.startswith(FALLBACK):
            for name in source.fallback:
                yield from python_packages.docs(name, seed)
        else:
            yield from debian.documents(source, debian.fetch(source, revision, scratch), seed)
        return
    if isinstance(source, HuggingFaceDataset):
        yield from hugging_face.documents(source, revision, seed)
        return
    now = _revision(source, scratch / "corpus")
    if now != revision:
        raise BadInput(
            f"the source {label(source)} is not the planned one: {revision[:24]} was promised,"
            f" {now[:24]} is there.\nWhere it has changed, run again. Where the plan was made on"
            " another machine than the step, let a worker\nwith the image of the stages plan it, or"
            " leave the source out."
        )
    if isinstance(source, LocalFiles):
        yield from local_files.documents(source, seed)
    elif source.take == "code":
        yield from python_packages.code(source.name, seed)
    else:
        yield from python_packages.docs(source.name, seed)
