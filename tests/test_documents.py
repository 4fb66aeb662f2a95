"""README and docs say what is so: commands run, the tree is the tree, links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.execution.exit_codes import MEANINGS, ExitCode
from flows.cli import GROUPS, SUBCOMMANDS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "infra").glob("*.md")]
)
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VERBS = {verb for group in GROUPS.values() for verb in group}


@dataclass(frozen=True)
class Block:
    """A fenced block: the document it stands in, its language and its lines."""

    document: str
    language: str
    text: str


def blocks(*languages: str) -> list[Block]:
    return [
        Block(str(path.relative_to(ROOT)), language, text)
        for path in DOCUMENTS
        for language, text in FENCE.findall(path.read_text(encoding="utf-8"))
        if language in languages
    ]


def executed() -> list[tuple[str, str]]:
    return [
        (block.document, line.removeprefix("$ "))
        for block in blocks("console")
        for line in block.text.splitlines()
        if line.startswith("$ ")
    ]


@pytest.mark.parametrize(("document", "command"), executed())
def test_console_block_runs(document: str, command: str, tmp_path: Path) -> None:
    """Commands that cost seconds stand in `console` blocks and are carried out."""
    binaries = Path(sys.executable).parent
    done = subprocess.run(
        command,
        shell=True,
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "STRATA_HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{document}: {command}\n{done.stdout}{done.stderr}"
    assert done.stdout


def mentioned() -> list[tuple[str, str]]:
    found = {
        (block.document, line.split("#")[0].strip())
        for block in blocks("sh", "console", "bash")
        for line in block.text.splitlines()
        if line.removeprefix("$ ").startswith("strata ")
    }
    for path in DOCUMENTS:
        text = FENCE.sub("", path.read_text(encoding="utf-8"))
        for command in re.findall(r"`(strata [a-z][^`]*)`", text):
            found.add((str(path.relative_to(ROOT)), " ".join(command.split())))
    return sorted(found)


@pytest.mark.parametrize(("document", "command"), mentioned())
def test_mentioned_command_exists(document: str, command: str) -> None:
    words = shlex.split(command.removeprefix("$ "))[1:]
    verb, *rest = words
    if verb in SUBCOMMANDS:
        assert not rest or rest[0] in SUBCOMMANDS[verb][1], f"{document}: {command}"
        return
    assert verb in VERBS or verb.startswith("-"), f"{document}: {command}: no such verb"


def test_every_make_verb_mentioned_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    verbs = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert len(verbs) <= 13, "a verb too many: thirteen are what a newcomer can read"
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        used = set(re.findall(r"`make ([a-z]+)", text))
        for block in FENCE.findall(text):
            used |= set(re.findall(r"^make ([a-z]+)", block[1], re.MULTILINE))
        assert used <= verbs, f"{path.name} mentions make {used - verbs}"


def test_links_lead_somewhere() -> None:
    broken = []
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
            if "://" not in target and not (path.parent / target).exists():
                broken.append(f"{path.relative_to(ROOT)} links to {target}")
    assert not broken


def tree_in_readme() -> set[str]:
    tree = next(block for block in blocks("text") if block.document == "README.md")
    found: set[str] = set()
    top = ""
    for line in tree.text.splitlines():
        name = line.split()[0]
        if line.startswith("  "):
            found.add(top + name)
        else:
            top = name
            found.add(name)
    return found


def test_tree_in_readme_equals_the_folders() -> None:
    packages = ("components", "flows", "dashboards")
    listed = tree_in_readme()
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    folders = set()
    for name in (Path(file) for file in files if (ROOT / file).is_file()):
        parts = name.parts[:-1]
        if any(part.startswith(".") for part in parts):
            continue
        if parts:
            folders.add(f"{parts[0]}/")
        if len(parts) > 1 and parts[0] in packages:
            folders.add(f"{parts[0]}/{parts[1]}/")
    assert listed - folders == set(), "the README's tree names folders that are gone"
    assert folders - listed == set(), "the README's tree lacks folders"


def test_exit_codes_in_readme_are_those_of_the_code() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = {
        int(code): meaning for code, meaning in re.findall(r"^\| (\d+) \| (.+) \|$", text, re.M)
    }
    expected = {int(code): MEANINGS[code] for code in MEANINGS if code != ExitCode.KILLED}
    assert rows == expected


def test_decisions_are_numbered_and_complete() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(page.name[:4]) for page in pages]
    assert len(set(numbers)) == len(numbers), "two decisions share a number"
    for page, number in zip(pages, numbers, strict=True):
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {number}. "), f"{page.name}: the title begins with its number"
        for part in ("## Context", "## Choice", "## Given up"):
            assert part in text, f"{page.name} lacks {part!r}"
