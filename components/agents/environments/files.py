"""Questions about real files, answered by commands that run in the sandbox.

Whatever the model writes is run as it stands, in the session's working directory, where the files
are read-only. When a command fails because a file does not exist, the answer also names the files
whose names begin alike: a shell's "did you mean", and the natural error that the family `repair` is
about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.agents.conversation import ToolCall
from components.agents.environment import ToolResult, World, same_answer
from components.agents.tools import argument_of

if TYPE_CHECKING:
    from components.sandbox.interface import Sandbox

MAX_COMMAND = 1000
MAX_ANSWER = 400
"""Characters of output that the model gets to read; the rest is cut."""
MOST_HINTS = 3
CPU_SECONDS = 2.0
_MISSING = re.compile(r"([^\s:'‘]+)['’]?: No such file or directory")


@dataclass
class FilesEnvironment:
    """Serve `bash` in the sandbox session and check one answer."""

    answer: str
    world: World
    sandbox: Sandbox

    def execute(self, call: ToolCall) -> ToolResult:
        """Run a command; exit code other than 0 is a failed result with the command's own error
        text.
        """
        if call.name != "bash":
            return ToolResult("error: unknown tool, have bash", failed=True)
        command = argument_of(call, "c")
        if command is None or not command.strip() or len(command) > MAX_COMMAND:
            return ToolResult('error: bash needs "c"', failed=True)
        done = self.sandbox.run(command, cpu_seconds=CPU_SECONDS)
        if done.infrastructure:
            return ToolResult("error: sandbox lost", failed=True, infrastructure=True)
        if done.timed_out_cpu:
            return ToolResult("error: out of CPU time", failed=True)
        if done.code == 0:
            return ToolResult(_shorten(done.stdout))
        return ToolResult(self._with_hint(_shorten(done.stderr or done.stdout)), failed=True)

    def _with_hint(self, error: str) -> str:
        missing = _MISSING.search(error)
        stem = missing.group(1).split(".")[0] if missing else ""
        near = [name for name in self.world.file_names if stem and name.startswith(f"{stem}.")]
        text = error or "error"
        return f"{text}; have {', '.join(near[:MOST_HINTS])}" if near else text

    def check(self, answer: str) -> bool:
        """Compare with the right answer."""
        return same_answer(answer, self.answer)

    def close(self) -> None:
        """Clear what the task left in the session, for the next one."""
        self.sandbox.reset()


def _shorten(output: str) -> str:
    text = output.strip()
    return text if len(text) <= MAX_ANSWER else text[:MAX_ANSWER] + " ..."
