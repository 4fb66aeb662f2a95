"""Commands really run in the sandbox; a missing extension earns a hint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from components.agents.conversation import ToolCall
from components.agents.environment import Environment, World, open_environment
from components.sandbox.interface import Completed, open_sandbox


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    files = tmp_path_factory.mktemp("files")
    (files / "901.csv").write_text("a b\nc\n", encoding="utf-8")
    world = World({}, {}, files)
    sandbox = open_sandbox("bubblewrap", files)
    yield open_environment({"environment": "files", "answer": "6"}, world, sandbox)
    sandbox.close()


def bash(environment: Environment, command: str) -> tuple[str, bool]:
    result = environment.execute(ToolCall("bash", {"c": command}))
    assert not result.infrastructure
    return result.text, result.failed


def test_counting(environment: Environment) -> None:
    assert bash(environment, "wc -c 901.csv") == ("6 901.csv", False)
    assert environment.check("6")
    assert not environment.check("7")


def test_a_missing_extension_is_named(environment: Environment) -> None:
    expected = "wc: 901: No such file or directory; have 901.csv"
    assert bash(environment, "wc -c 901") == (expected, True)


def test_an_unknown_name_gets_no_hint(environment: Environment) -> None:
    assert bash(environment, "wc -c 555") == ("wc: 555: No such file or directory", True)
    text, failed = bash(environment, "cw -c 901.csv")
    assert failed
    assert text.endswith("cw: command not found")


def test_failures(environment: Environment) -> None:
    assert environment.execute(ToolCall("bash", {})).text == 'error: bash needs "c"'
    assert environment.execute(ToolCall("bash", {"c": "x" * 2000})).failed
    assert bash(environment, "exit 3") == ("error", True)
    assert bash(environment, "while :; do :; done") == ("error: out of CPU time", True)


def test_long_output_is_cut(environment: Environment) -> None:
    text, failed = bash(environment, "seq 10000")
    assert not failed
    assert len(text) < 500
    assert text.endswith(" ...")


def test_close_clears_the_session(environment: Environment) -> None:
    bash(environment, "echo x > /tmp/left")
    environment.close()
    assert bash(environment, "ls /tmp") == ("", False)


def test_a_lost_sandbox_is_no_evidence(tmp_path: Path) -> None:
    class Lost:
        def run(self, command: str, *, cpu_seconds: float = 2.0) -> Completed:
            return Completed("", "", 255, infrastructure=True)

        def reset(self) -> None: ...

        def close(self) -> None: ...

    world = World({}, {}, tmp_path)
    environment = open_environment({"environment": "files", "answer": "6"}, world, Lost())
    result = environment.execute(ToolCall("bash", {"c": "wc -c 901.csv"}))
    assert result.infrastructure
    assert result.failed
