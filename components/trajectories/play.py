"""Play one task: the teacher acts, the tools really run, and a planned fault may come in between.

A fault is either a mistake of the agent (a wrong call, kept without loss, and its true consequence)
or a tool that fails once. The teacher goes on from there as if warned: what follows is the
recovery that loss falls on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from components.agents.conversation import Message, ToolCall
from components.agents.environment import Environment, ToolResult, TransientErrors
from components.agents.mistakes import spoil
from components.trajectories.agentic_cot import SYSTEM, before_answer, before_call
from components.trajectories.scripts import SCRIPTS

MOST_TURNS = 8


@dataclass(frozen=True)
class Fault:
    """Say before which right call something goes wrong, and whether it is the tool's fault."""

    step: int
    transient: bool


@dataclass(frozen=True)
class Played:
    """Hold the turns of one attempt and how it ended."""

    messages: tuple[Message, ...]
    correct: bool
    infrastructure: bool
    calls: int
    """Right calls, without those of a fault."""
    mistake: str = ""
    fork: int = 0
    """Index of the first message that an undisturbed attempt does not have."""


class _Attempt:
    """Collect the turns of one attempt while it is played."""

    def __init__(self, task: Mapping[str, Any], environment: Environment, style: str) -> None:
        self.task = task
        self.environment = environment
        self.phased = style == "agentic_cot"
        self.messages: list[Message] = [Message("system", SYSTEM)] if self.phased else []
        self.messages.append(Message("user", task["question"]))
        self.last: ToolResult | None = None
        self.infrastructure = False
        self.slipped = False

    def call(self, call: ToolCall, *, trained: bool = True) -> ToolResult:
        """Append a call and what the tool answers."""
        reasoning = ""
        if self.phased:
            last = self.last.text if self.last else None
            failed = self.slipped or (self.last is not None and self.last.failed)
            reasoning = before_call(self.task["family"], call, last, failed=failed)
        self.messages.append(Message("assistant", "", reasoning, (call,), trained))
        result = self.environment.execute(call)
        self.messages.append(Message("tool", result.text))
        self.last, self.slipped = result, not trained
        self.infrastructure |= result.infrastructure
        return result

    def answer(self, text: str) -> None:
        """Append the final answer."""
        self.messages.append(Message("assistant", text, before_answer() if self.phased else ""))


def play(
    task: Mapping[str, Any],
    environment: Environment,
    style: str,
    fault: Fault | None = None,
    rng: Random | None = None,
) -> Played:
    """Let the scripted teacher solve a task; `rng` decides which mistake a fault is."""
    if fault is not None and fault.transient:
        environment = TransientErrors(environment, at=fault.step)
    attempt = _Attempt(task, environment, style)
    script = SCRIPTS[task["family"]]
    answers: list[str] = []
    mistake, fork = "", 0
    for _ in range(MOST_TURNS):
        action = script(task, answers)
        if isinstance(action, str):
            attempt.answer(action)
            correct = environment.check(action)
            return Played(
                tuple(attempt.messages),
                correct,
                attempt.infrastructure,
                len(answers),
                mistake,
                fork,
            )
        if fault is not None and not mistake and len(answers) == fault.step:
            fork = len(attempt.messages)
            if fault.transient:
                mistake, fork = "transient", fork + 1
                attempt.call(action)
            else:
                assert rng is not None, "a mistake needs a generator"
                wrong, mistake = spoil(action, rng)
                attempt.call(wrong, trained=False)
        answers.append(attempt.call(action).text)
    return Played(
        tuple(attempt.messages), False, attempt.infrastructure, len(answers), mistake, fork
    )
