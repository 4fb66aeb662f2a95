"""The command line as a user meets it: a process, its two outputs and its exit code."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.settings import Settings
from flows.cli import GROUPS, SUBCOMMANDS, main, overview

ROOT = Path(__file__).parents[2]
VERBS = [name for commands in GROUPS.values() for name in commands]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("STRATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def strata(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "STRATA_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_overview_imports_nothing_heavy(home):
    code = "import sys; from flows.cli import main; main(['--help']); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    loaded = set(out.stdout.splitlines()[-1].split())
    assert not loaded & {"cyclopts", "pydantic", "prefect", "torch", "mlflow", "rich", "sqlalchemy"}
    assert all(f"  {verb} " in out.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", [*VERBS, *SUBCOMMANDS])
def test_every_command_explains_itself(verb, capsys):
    assert main([verb, "--help"]) == 0
    assert "Usage: strata" in capsys.readouterr().out


def test_every_command_is_in_the_overview():
    text = overview()
    assert all(verb in text for verb in [*VERBS, *SUBCOMMANDS])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["rnu"], 2, "Did you mean run?"),
        (["plan", "tyo"], 5, "Did you mean toy?"),
        (["plan", "toy", "--foo"], 2, "--foo"),
        (["plan", "toy", "--set", "agent.lerning_rate=1"], 2, "agent.learning_rate"),
        (["plan", "toy", "--set", "agent.steps=many"], 2, "agent.steps"),
        (["plan", "toy", "--set", "agent.steps"], 2, "step.field=value"),
        (["plan", "toy", "--file", "none.toml"], 5, "none.toml"),
        (["plan", "toy", "--set", "tasks.phrasing=prose"], 2, "'keys' or 'words'"),
        (["run", "toy", "--set", "resources.agnet.threads=1"], 2, "agent"),
        (["status"], 5, "strata run toy"),
        (["show", "nothing"], 5, "strata run toy"),
        (["logs", "agent"], 5, "agent"),
        (["why", "agent"], 5, "agent"),
        (["eval", "agent"], 5, "agent"),
        (["config", "show", "tiny"], 5, "Recipes:"),
        (["config", "diff", "toy", "tooy"], 5, "Did you mean toy?"),
        (["cancel"], 5, "strata run toy"),
        (["export"], 5, "strata run toy"),
    ],
)
def test_mistakes_are_short_and_name_the_fix(arguments, code, words, capsys, home):
    assert main(arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert printed.err.startswith("error: ")
    assert len(printed.err.splitlines()) <= 8
    assert "Traceback" not in printed.err
    assert not (home / "store").exists()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("STRATA_SLOTS", "many", "STRATA_SLOTS"),
        ("STRATA_HOEM", "x", "STRATA_HOME"),
        ("STRATA_SET", "agent.steps=many", "STRATA_SET"),
    ],
)
def test_a_bad_variable_is_named(name, value, words, monkeypatch, capsys):
    monkeypatch.setenv(name, value)
    assert main(["config", "show", "toy"]) == 2
    assert words in capsys.readouterr().err


def test_data_is_pure_json(home):
    shown = strata("config", "show", "ci", "--json", "--set", "agent.steps=3", home=home)
    assert shown.returncode == 0
    assert json.loads(shown.stdout)["agent"]["steps"] == 3
    assert shown.stderr == ""
    schema = strata("config", "schema", home=home)
    assert "learning_rate" in json.dumps(json.loads(schema.stdout))
    assert json.loads(strata("runs", "--json", home=home).stdout) == []


def test_every_field_of_the_schema_that_a_step_has_is_explained():
    from flows.recipe import Recipe

    schema = Recipe.model_json_schema()
    assert all("description" in field or "$ref" in field for field in schema["properties"].values())


def test_doctor_finds_nothing_wrong_that_stops_a_run(capsys):
    assert main(["doctor", "--json"]) in {0, 3}
    findings = json.loads(capsys.readouterr().out)
    states = {finding["check"]: finding["state"] for finding in findings}
    assert states["python"] == states["packages"] == states["recipes"] == "ok"
    assert all(finding["repair"] for finding in findings if finding["state"] == "fault")


def test_doctor_names_an_unwritable_home_and_a_dead_server(monkeypatch):
    from flows import checks

    here = Settings(home=Path("/proc/nowhere"), prefect="http://127.0.0.1:9/api")
    assert checks.servers(here)[0] == "fault"
    assert checks.home(Settings(home=Path("/proc/nowhere")))[0] in {"fault", "ok"}


def test_a_fault_of_ours_is_told_as_one(capsys, monkeypatch):
    from flows import recipe

    monkeypatch.setattr(recipe, "shipped", lambda _name: 1 / 0)
    assert main(["config", "show", "toy"]) == 1
    assert "--debug" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        main(["config", "show", "toy", "--debug"])


def test_no_command_imports_another_s_work_at_the_top():
    for path in (ROOT / "flows" / "commands").glob("*.py"):
        tree = ast.parse(path.read_text())
        heavy = {"prefect", "mlflow", "torch", "streamlit"}
        names = {
            alias.name.split(".")[0]
            for node in tree.body
            if isinstance(node, ast.Import)
            for alias in node.names
        } | {
            (node.module or "").split(".")[0]
            for node in tree.body
            if isinstance(node, ast.ImportFrom)
        }
        assert not names & heavy, path
