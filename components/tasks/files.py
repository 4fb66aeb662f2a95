"""Questions about real files, answered in bash: the families `files` and `repair`.

The files are cut from real training documents. A `repair` question leaves the extension out: the
obvious command fails, the error names the file, and the call has to be made again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from components.agents.conversation import ToolCall
from components.artifacts.types import Corpus
from components.tasks.documents import Document, choose_documents
from components.tasks.splits import draws, keys_by_split, split_of
from components.tasks.task import Task

EXTENSIONS = ("csv", "txt", "md", "py", "log", "tex")
FLAGS = {"bytes": "-c", "lines": "-l", "words": "-w"}
SHORTEST = 200
"""Bytes; shorter documents make no file."""
WORDS = {
    "files": (
        "How many {m} does {f} have?",
        "Count the {m} of the file {f} for me.",
        "I need to know how many {m} {f} holds.",
    ),
    "repair": (
        "How many {m} does the file called {s} have?",
        "Count the {m} of {s} for me.",
    ),
}
_PLAIN = re.compile(r"[\t\n\x20-\x7e]+")


@dataclass(frozen=True)
class TextFile:
    """Describe one file of the working directory: name, the part before the extension, and what
    `wc` counts.
    """

    name: str
    stem: str
    counts: dict[str, int]

    @property
    def source(self) -> str:
        """The disjointness unit: a key, or a name made of words."""
        return f"key:{self.stem}" if self.stem.isdigit() else f"name:{self.stem}"


@dataclass(frozen=True)
class FileSettings:
    """Say how files are named and how long they may be, in bytes."""

    seed: int
    phrasing: str
    digits: int
    most: int
    max_bytes: int


def write_files(corpus: Corpus, directory: Path, settings: FileSettings) -> dict[str, TextFile]:
    """Write the working directory and return its files by stem."""
    directory.mkdir(parents=True, exist_ok=True)
    rng = draws(settings.seed, "files")
    keys = sorted(key for keys in keys_by_split(settings.digits).values() for key in keys)
    rng.shuffle(keys)
    most = min(settings.most, len(keys)) if settings.phrasing == "keys" else settings.most
    files: dict[str, TextFile] = {}
    for document in choose_documents(corpus, "train", 2 * most, settings.seed, _fit):
        text = _cut(document.text, rng.randrange(SHORTEST, settings.max_bytes + 1))
        stem = keys[len(files)] if settings.phrasing == "keys" else _slug(document.title)
        name = f"{stem}.{rng.choice(EXTENSIONS)}"
        if not stem or stem in files:
            continue
        (directory / name).write_bytes(text.encode("ascii"))
        files[stem] = TextFile(name, stem, _count(text))
        if len(files) == most:
            break
    return files


def _fit(document: Document) -> bool:
    return len(document.text) >= SHORTEST and _PLAIN.fullmatch(document.text) is not None


def _cut(text: str, longest: int) -> str:
    """Cut at the last line end, or else the last space, before `longest` characters; end with a
    line end.
    """
    if len(text) <= longest:
        return text.rstrip("\n") + "\n"
    head = text[:longest]
    place = max(head.rfind("\n"), 0) or max(head.rfind(" "), 0) or longest
    return head[:place].rstrip() + "\n"


def _slug(title: str) -> str:
    return "-".join(re.findall(r"[a-z]+", title.lower())[:3])


def _count(text: str) -> dict[str, int]:
    return {"bytes": len(text), "lines": text.count("\n"), "words": len(text.split())}


def file_tasks(
    family: str,
    split: str,
    seed: int,
    files: Mapping[str, TextFile],
    *,
    words: bool = False,
    measures: tuple[str, ...] = ("bytes", "lines", "words"),
) -> Iterator[Task]:
    """Yield tasks of `files` or `repair` over the files of one split."""
    stems = [stem for stem in sorted(files) if split_of(files[stem].source) == split]
    rng = draws(seed, family, split)
    rng.shuffle(stems)
    for turn in range(len(measures)):
        for number, stem in enumerate(stems):
            file, measure = files[stem], measures[(turn + number) % len(measures)]
            asked = file.stem if family == "repair" else file.name
            right = ToolCall("bash", {"c": f"wc {FLAGS[measure]} {file.name}"})
            wrong = ToolCall("bash", {"c": f"wc {FLAGS[measure]} {file.stem}"})
            yield Task(
                family=family,
                environment="files",
                split=split,
                question=_question(
                    family, file, measure, rng.choice(WORDS[family]) if words else ""
                ),
                answer=str(file.counts[measure]),
                source=file.source,
                steps=(wrong, right) if family == "repair" else (right,),
                world={"asked": asked, "measure": measure},
            )


def _question(family: str, file: TextFile, measure: str, wording: str) -> str:
    if wording:
        return wording.format(m=measure, f=file.name, s=file.stem)
    return f"How many {measure} are in {file.stem if family == 'repair' else file.name}?"
