"""What a change of configuration, code or source makes again, and what it leaves as it is."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import components
from tests.end_to_end.command_line import Home
from tests.end_to_end.conftest import CiRun

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(components.__path__[0]).parent
AFTER_RL = {"agent", "scores.agent", "release"}


def planned(home: Home, *arguments: str, **options: Any) -> dict[str, dict[str, Any]]:
    """Return the steps that `strata plan` would not find, by name."""
    steps = home.strata("plan", *arguments, "--json", **options).json
    return {step["step"]: step for step in steps if step["state"] != "cached"}


def test_another_learning_rate_of_the_agent_runs_what_depends_on_it_alone(
    ci: CiRun, ci_copy: Home
) -> None:
    change = ("--set", "agent.learning_rate=2e-4")
    plan = planned(ci_copy, "ci", *change)
    assert set(plan) == AFTER_RL
    assert plan["agent"]["reasons"] == ["config: learning_rate 0.0003 → 0.0002"]
    answer = ci_copy.strata("run", "ci", *change, "--json").last_line
    assert set(answer["executed"]) == AFTER_RL
    assert answer["run_id"] != ci.answer.last_line["run_id"]
    changed = {
        step
        for step, digest in ci_copy.digests().items()
        if digest != ci.home.manifest(step).digest
    }
    assert changed == AFTER_RL
    assert "learning_rate: 0.0003 → 0.0002" in ci_copy.strata("why", "agent").out


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Copy the source tree, so that a line of it can be changed."""
    tree = tmp_path / "sources"
    for package in ("components", "flows"):
        shutil.copytree(
            ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return tree


def test_a_changed_line_of_rl_runs_what_depends_on_it_and_why_names_it(
    ci: CiRun, sources: Path
) -> None:
    module = sources / "components/rl/advantages.py"
    module.write_text(module.read_text("utf-8") + "\n\nADDED = 1\n", "utf-8")
    plan = planned(ci.home, "ci", python_path=sources)
    assert set(plan) == AFTER_RL
    assert plan["agent"]["reasons"] == ["code: components/rl/advantages.py changed"]
    assert plan["release"]["state"] == "depends"
    why = ci.home.strata("why", "agent", python_path=sources).out
    assert "would run: code: components/rl/advantages.py changed" in why
    assert "cached" in ci.home.strata("why", "assistant", python_path=sources).out
    assert planned(ci.home, "ci") == {}, "the tree itself is as it was"


def test_comments_and_doc_strings_change_nothing(ci: CiRun, sources: Path) -> None:
    for module in (sources / "components").rglob("*.py"):
        said = module.read_text("utf-8")
        if said.startswith('"""'):
            said = '"""Say it better. ' + said[3:]
        module.write_text(said + "\n# One more remark.\n", "utf-8")
    assert planned(ci.home, "ci", python_path=sources) == {}


@pytest.fixture
def small_home(ci: CiRun, new_home: Callable[[], Home]) -> Home:
    """Return a home without artifacts; making Prefect's database anew would take 8 s."""
    home = new_home()
    shutil.copytree(ci.home.path / "prefect", home.path / "prefect")
    return home


def overlay(place: Path, source: str) -> Path:
    """Write a recipe's overlay whose corpus has one source."""
    file = place / "overlay.yaml"
    file.write_text(f"corpus:\n  sources:\n    - {source}\n", "utf-8")
    return file


def run_corpus(home: Home, changes: Path, **options: Any) -> dict[str, Any]:
    arguments = ("run", "ci", "--file", str(changes), "--until", "corpus", "--json")
    return home.strata(*arguments, **options).last_line


def test_an_edited_source_file_runs_the_corpus_again_and_is_named(
    small_home: Home, tmp_path: Path
) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for name in ("a", "b"):
        told = [
            f"Letter {name}, sentence {at}, tells of a river and its bridges." for at in range(40)
        ]
        (texts / f"{name}.txt").write_text("\n\n".join(told), "utf-8")
    changes = overlay(
        tmp_path, f"{{type: files, name: letters, domain: general, paths: [{texts}]}}"
    )
    first = run_corpus(small_home, changes)
    assert first["executed"] == ["corpus"]
    assert run_corpus(small_home, changes)["executed"] == []

    with (texts / "b.txt").open("a", encoding="utf-8") as file:
        file.write("\n\nAnd one more letter came in from the far side of the river.")
    plan = planned(small_home, "ci", "--file", str(changes), "--until", "corpus")
    (reason,) = plan["corpus"]["reasons"]
    assert reason.startswith("source: files:letters sha256:"), reason
    assert "→" in reason
    assert "would run: source: files:letters sha256:" in small_home.strata("why", "corpus").out

    second = run_corpus(small_home, changes)
    assert second["executed"] == ["corpus"]
    assert second["final_digest"] != first["final_digest"]
    why = small_home.strata("why", "corpus").out
    assert "files:letters: sha256:" in why.partition("before")[2], why


def install(place: Path, version: str, text: str) -> None:
    """Install a distribution into a directory, as pip would leave it there."""
    shutil.rmtree(place, ignore_errors=True)
    module = place / "riverlib" / "bridges.py"
    module.parent.mkdir(parents=True)
    module.write_text(text, "utf-8")
    info = place / f"riverlib-{version}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: riverlib\nVersion: {version}\n"
    (info / "METADATA").write_text(metadata, "utf-8")
    digest = hashlib.sha256(module.read_bytes()).hexdigest()
    record = [f"riverlib/bridges.py,sha256={digest},{module.stat().st_size}"]
    record += [f"{info.name}/METADATA,,", f"{info.name}/RECORD,,"]
    (info / "RECORD").write_text("\n".join(record) + "\n", "utf-8")


def test_an_upgraded_source_package_runs_the_corpus_again_and_is_named(
    small_home: Home, tmp_path: Path
) -> None:
    place = tmp_path / "installed"
    code = [
        f'def bridge_{number}(load, span):\n    """Return what bridge {number} bears."""\n'
        f"    return load * span + {number}\n"
        for number in range(40)
    ]
    changes = overlay(tmp_path, "{type: python, name: riverlib, domain: code}")
    install(place, "1.0", "\n\n".join(code))
    first = run_corpus(small_home, changes, python_path=place)
    assert first["executed"] == ["corpus"]
    assert run_corpus(small_home, changes, python_path=place)["executed"] == []

    install(place, "1.1", "\n\n".join(code[:-1]))
    arguments = ("ci", "--file", str(changes), "--until", "corpus")
    (reason,) = planned(small_home, *arguments, python_path=place)["corpus"]["reasons"]
    assert "python:riverlib:code 1.0 record:" in reason, reason
    assert "→ 1.1 record:" in reason, reason
    second = run_corpus(small_home, changes, python_path=place)
    assert second["executed"] == ["corpus"]
    assert second["final_digest"] != first["final_digest"]
