"""The images' recipes: what is copied exists, who runs is not root, what is installed is pinned."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "infra/images"
NAMES = ("stage", "flow", "dashboard")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

every_image = pytest.mark.parametrize("name", NAMES)


def instructions(name: str) -> list[str]:
    """Return a Dockerfile's instructions, each in one line."""
    text = (IMAGES / f"{name}.Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_every_image_is_tested():
    assert {path.stem for path in IMAGES.glob("*.Dockerfile")} == set(NAMES)


@every_image
def test_what_is_copied_exists_and_may_be_copied(name):
    allowed = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    copied = [s for line in instructions(name) if line[:5] == "COPY " for s in line.split()[1:-1]]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(source == each or source.startswith(f"{each}/") for each in allowed), source


@every_image
def test_the_one_who_runs_is_a_number_other_than_root(name):
    users = [line.split()[1] for line in instructions(name) if line.startswith("USER ")]
    assert users == ["10001:10001"]


@every_image
def test_the_one_who_runs_has_a_home_for_the_installation(name):
    assert "ENV PYTHONPATH=/strata STRATA_HOME=/var/lib/strata" in instructions(name)
    assert any("install -d -o 10001 -g 10001 /var/lib/strata" in i for i in instructions(name))


@every_image
def test_packages_are_pinned_and_installed_before_the_sources_come(name):
    lines = instructions(name)
    installs = [line for line in lines if "pip install" in line]
    assert len(installs) == 1
    assert "-c constraints.txt" in installs[0]
    assert lines.index(installs[0]) < lines.index("COPY components components")


@every_image
def test_the_label_is_proved_by_the_sources(name):
    lines = instructions(name)
    assert "LABEL strata.commit=${COMMIT} strata.code=${CODE}" in lines
    (proof,) = [line for line in lines if "components.execution.image_code" in line]
    assert "${CODE:+--expect ${CODE}}" in proof
    # Away from the sources, so that it shows too that they are found from wherever.
    assert lines[lines.index(proof) - 1] == "WORKDIR /home/strata"


@every_image
def test_extras_are_the_projects(name):
    for line in instructions(name):
        if line.startswith("ARG EXTRAS="):
            assert set(line.partition("=")[2].split(",")) <= set(PROJECT["optional-dependencies"])


def test_the_dashboard_image_has_what_the_dashboard_imports():
    imported = {
        name.partition(".")[0]
        for path in (ROOT / "dashboards").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    others = imported - set(sys.stdlib_module_names) - {"components", "dashboards", "flows"}
    (install,) = [line for line in instructions("dashboard") if "pip install" in line]
    own = {re.split(r"[<>=\[]", line)[0].lower() for line in PROJECT["dependencies"]}
    assert others <= own | set(install.split())


def test_the_version_of_the_images_is_the_projects():
    for path in (ROOT / "docker-compose.yml", *(ROOT / "infra/kubernetes").rglob("*.yaml")):
        for version in re.findall(r"image: strata-\w+:(\S+)", path.read_text()):
            assert version == PROJECT["version"], path
