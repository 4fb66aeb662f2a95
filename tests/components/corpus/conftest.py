"""A stage's circumstances, and small sources."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from components.contract import Resources, StageContext
from components.tracking.journal import Journal


@pytest.fixture
def make_context(tmp_path: Path) -> Callable[..., StageContext]:
    def make(name: str = "a", **changes: object) -> StageContext:
        home = tmp_path / name
        for part in ("out", "resume", "scratch"):
            (home / part).mkdir(parents=True)
        values = {
            "out": home / "out",
            "resume": home / "resume",
            "earlier_resumes": (),
            "scratch": home / "scratch",
            "journal": Journal(home / "journal"),
            "resources": Resources(threads=1),
            "step": "corpus",
        }
        return StageContext(**(values | changes))

    return make


WORDS = [f"{a}{b}" for a in ("sea", "wind", "stone", "light", "river") for b in ("er", "ing", "s")]


def prose(number: int, length: int = 60) -> str:
    """Return text that shares few shingles with that of another number."""
    state = number * 7919 + 1
    words = []
    for _ in range(length):
        state = (state * 1103515245 + 12345) % 2**31
        words.append(WORDS[state // 65536 % len(WORDS)])
    return " ".join(words) + "."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Hold 40 documents as JSON lines."""
    made = tmp_path / "data"
    made.mkdir()
    lines = [json.dumps({"text": prose(n), "title": f"number {n}"}) for n in range(40)]
    (made / "prose.jsonl").write_text("\n".join(lines) + "\n")
    return made
