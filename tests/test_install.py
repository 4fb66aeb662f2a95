"""What is installed is what was pinned, and what was pinned can be installed by anyone."""

from __future__ import annotations

import re
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


def name_of(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name_of(name): version for name, version in pairs}


def closure(*extras: str) -> set[str]:
    """Return every distribution that strata with these extras requires on this Python."""
    found: set[str] = set()
    pending = [("strata", frozenset(extras))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while pending:
        entry = pending.pop()
        if entry in seen:
            continue
        seen.add(entry)
        name, wanted = entry
        for line in metadata.requires(name) or []:
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in wanted | {""}):
                found.add(name_of(requirement.name))
                pending.append((name_of(requirement.name), frozenset(requirement.extras)))
    return found - {"strata"}


def test_pins_are_public_versions() -> None:
    assert len(pins()) > 100
    local = [name for name, version in pins().items() if not re.fullmatch(r"[\w.]+", version)]
    assert not local, "a version with a +tag exists in no common index"


def test_whole_closure_is_pinned() -> None:
    missing = closure("all", "dev") - set(pins())
    assert not missing, f"add to constraints.txt: {sorted(missing)}"


def test_nothing_else_is_pinned() -> None:
    for_cuda = re.compile(r"cuda-|nvidia-|triton$")
    extra = {name for name in set(pins()) - closure("all", "dev") if not for_cuda.match(name)}
    assert not extra, f"take out of constraints.txt: {sorted(extra)}"


def test_installed_versions_are_the_pinned_ones() -> None:
    pinned = pins()
    wrong = {}
    for name in sorted(closure("all", "dev")):
        version = metadata.version(name).partition("+")[0]
        if version != pinned.get(name):
            wrong[name] = f"installed {version}, pinned {pinned.get(name)}"
    assert not wrong


def test_command_line_stays_light() -> None:
    """What a plan needs, without extras: no torch, no servers, no data engine."""
    heavy = {"torch", "mlflow", "prefect", "streamlit", "daft", "pyarrow", "transformers", "numpy"}
    assert not closure() & heavy


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 3, "usage: infra/setup.sh"),
        (["nonsense"], 3, "usage: infra/setup.sh"),
    ],
)
def test_set_up_explains_itself(arguments: list[str], code: int, says: str) -> None:
    done = run_set_up(*arguments)
    assert done.returncode == code
    assert says in done.stderr


def test_wrong_python_is_one_clear_line(tmp_path: Path) -> None:
    old = tmp_path / "python-old"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    done = run_set_up("python", PYTHON=str(old))
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "Python 3.11, 3.12 or 3.13 is needed" in done.stderr


def test_missing_sandbox_is_one_clear_line(tmp_path: Path) -> None:
    """Without bubblewrap and without the right to install it, the line says what to do."""
    for program in ("sh", "dirname", "id"):
        (tmp_path / program).symlink_to(f"/usr/bin/{program}")
    done = run_set_up("system", PATH=str(tmp_path))
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "apt-get install bubblewrap" in done.stderr


def run_set_up(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(ROOT / "infra" / "setup.sh"), *arguments],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
