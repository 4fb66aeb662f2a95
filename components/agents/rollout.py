"""Let a model solve tasks with tools: sample, run the call, feed the response, until it answers.

Used by reinforcement learning and by evaluation alike, so that what is trained is what is scored. A
call that cannot be read earns an error response and the model may try again; a fault of the tools'
machinery marks the rollout, which then is no evidence about the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from components.agents.conversation import (
    END_CALL,
    END_OF_TEXT,
    Conversation,
    MalformedTurn,
    Message,
    encode_prompt,
    parse_assistant,
    tool_response_ids,
)
from components.agents.environment import (
    Environment,
    ToolResult,
    World,
    inject_errors,
    open_environment,
)
from components.agents.inference import Engine, Row, Sampling
from components.agents.tools import tools_of
from components.sandbox.interface import Completed, Sandbox

if TYPE_CHECKING:
    from components.tokenizer.contract import TextTokenizer

MALFORMED_RESPONSE = "error: not a call"


@dataclass(frozen=True)
class RolloutSettings:
    """Say how tasks are attempted; temperature 0 is greedy."""

    max_turns: int
    max_tokens: int
    max_turn_tokens: int
    temperature: float = 0.0
    samples: int = 1
    """Rollouts of each task; they differ in noise only."""
    seed: int = 0
    recovery_share: float = 0.0
    """Share of the tasks, chosen by (seed, task id), whose first call fails once."""
    describe_tools: bool = False


@dataclass(frozen=True)
class Rollout:
    """Hold one attempt: ids, which of them were sampled (`mask`) and their log-probabilities."""

    task_id: str
    family: str
    sample: int
    ids: list[int]
    mask: list[int]
    logprobs: list[float]
    turns: int
    calls: int
    malformed_calls: int
    answer: str | None
    """Final answer; None where the budget ended first or the last turn was malformed."""
    correct: bool
    infrastructure: bool
    """The tools' machinery failed: leave this rollout out of rewards and scores."""

    @property
    def parsed(self) -> bool:
        """True where every call could be read and an answer was given."""
        return self.malformed_calls == 0 and self.answer is not None


@dataclass
class _Attempt:
    task: Mapping[str, Any]
    sample: int
    row: Row
    environment: Environment
    turns: int = 0
    calls: int = 0
    malformed: int = 0
    answer: str | None = None
    infrastructure: bool = False


@dataclass(frozen=True)
class OneShotSandbox:
    """Run each command from a clean scratch directory, and equal commands once.

    Attempts take turns in one session; without this, what one left in `/tmp` another could read,
    and its outcome would depend on its company. Files being read-only, a command's output is then
    a function of the command: attempts at one task, which mostly agree, share it.
    """

    inner: Sandbox
    seen: dict[tuple[str, float], Completed] = field(default_factory=dict)

    def run(self, command: str, *, cpu_seconds: float = 2.0) -> Completed:
        """Run the command or recall its output; a fault of the machinery is not remembered."""
        known = self.seen.get((command, cpu_seconds))
        if known is not None:
            return known
        done = self.inner.run(command, cpu_seconds=cpu_seconds)
        self.inner.reset()
        if not done.infrastructure:
            self.seen[command, cpu_seconds] = done
        return done

    def reset(self) -> None:
        """Do nothing: every command left a clean session."""

    def close(self) -> None:
        """Leave the session open: it belongs to the stage."""


def rollout(
    engine: Engine,
    tokenizer: TextTokenizer,
    tasks: Sequence[Mapping[str, Any]],
    world: World,
    sandbox: Sandbox | None,
    settings: RolloutSettings,
) -> list[Rollout]:
    """Attempt each task `settings.samples` times; results stand in the order of the tasks.

    A rollout is a function of the weights, the settings and its task, whatever else is attempted
    beside it. Raises ValueError for a task that needs a sandbox where there is none.
    """
    commands = OneShotSandbox(sandbox) if sandbox is not None else None
    attempts = _start(tokenizer, tasks, world, commands, settings)
    by_key = {attempt.row.key: attempt for attempt in attempts}

    def respond(rows: list[Row]) -> list[list[int] | None]:
        return [_respond(by_key[row.key], tokenizer, settings.max_turns) for row in rows]

    stop = frozenset(tokenizer.special[token] for token in (END_CALL, END_OF_TEXT))
    sampling = Sampling(
        stop=stop,
        max_tokens=settings.max_tokens,
        max_turn_tokens=settings.max_turn_tokens,
        temperature=settings.temperature,
        seed=settings.seed,
    )
    try:
        engine.generate([attempt.row for attempt in attempts], respond, sampling)
        return [_finish(attempt) for attempt in attempts]
    finally:
        for attempt in attempts:
            attempt.environment.close()


def _start(
    tokenizer: TextTokenizer,
    tasks: Sequence[Mapping[str, Any]],
    world: World,
    sandbox: Sandbox | None,
    settings: RolloutSettings,
) -> list[_Attempt]:
    attempts: list[_Attempt] = []
    for task in tasks:
        prompt = encode_prompt(
            Conversation(
                (Message("user", task["question"]),),
                tools=tools_of(task["environment"]) if settings.describe_tools else None,
            ),
            tokenizer,
        )
        for sample in range(settings.samples):
            environment = inject_errors(
                open_environment(task, world, sandbox),
                task,
                seed=settings.seed,
                rate=settings.recovery_share,
            )
            row = Row(f"{task['id']}/{sample}", list(prompt))
            attempts.append(_Attempt(task, sample, row, environment))
    return attempts


def _respond(attempt: _Attempt, tokenizer: TextTokenizer, max_turns: int) -> list[int] | None:
    """Read the turn just sampled; return the tool's response as ids, or None at the end."""
    attempt.turns += 1
    row = attempt.row
    called = row.ids[-1] == tokenizer.special[END_CALL]
    attempt.calls += called
    try:
        turn = parse_assistant(row.ids[-row.turn_tokens :], tokenizer)
    except MalformedTurn:
        attempt.malformed += called
        if not called or attempt.turns >= max_turns:
            return None
        return tool_response_ids(MALFORMED_RESPONSE, tokenizer)
    if not called:
        attempt.answer = turn.content
        return None
    if attempt.turns >= max_turns:
        return None
    result = _execute(attempt.environment, turn)
    attempt.infrastructure = result.infrastructure
    return None if result.infrastructure else tool_response_ids(result.text, tokenizer)


def _execute(environment: Environment, turn: Message) -> ToolResult:
    return environment.execute(turn.tool_calls[-1])


def _finish(attempt: _Attempt) -> Rollout:
    row = attempt.row
    right = attempt.answer is not None and attempt.environment.check(attempt.answer)
    return Rollout(
        task_id=attempt.task["id"],
        family=attempt.task["family"],
        sample=attempt.sample,
        ids=row.ids,
        mask=row.sampled,
        logprobs=row.logprobs,
        turns=attempt.turns,
        calls=attempt.calls,
        malformed_calls=attempt.malformed,
        answer=attempt.answer,
        correct=right and not attempt.infrastructure,
        infrastructure=attempt.infrastructure,
    )
