"""Stage `trajectories`: solve tasks with real tools, keep what verifies, and branch where things go
wrong.

A conversation with a fault is a branch of the undisturbed one: it names its parent and the turn of
the fork. The wrong action stays visible and gets no loss; the error text and the recovery follow.
Attempts that an infrastructure failure touched are left out, for they say nothing about the task.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from components.agents.conversation import Branch, Conversation, encode
from components.agents.environment import World, load_world, open_environment
from components.agents.tools import tools_of
from components.contract import BadInput, StageContext, Stopped
from components.sandbox.interface import Sandbox, open_sandbox
from components.tokenizer.contract import TextTokenizer, load_tokenizer
from components.trajectories.config import (
    TrajectoriesConfig,
    TrajectoriesFacts,
    TrajectoriesInputs,
)
from components.trajectories.play import Fault, Played, play

ROUNDS = 3
"""How many times the tasks are gone through before a split stays short of its count."""


@dataclass(frozen=True)
class _Plan:
    """Say how one split is made."""

    split: str
    count: int
    error_rate: float
    cot_share: float
    rounds: int


@dataclass
class _Studio:
    """Hold what every attempt needs, and the causes of what was dropped."""

    config: TrajectoriesConfig
    world: World
    sandbox: Sandbox | None
    tokenizer: TextTokenizer
    dropped: Counter[str] = field(default_factory=Counter[str])


@dataclass
class _Tally:
    """Count what one split kept."""

    families: Counter[str] = field(default_factory=Counter[str])
    styles: Counter[str] = field(default_factory=Counter[str])
    mistakes: Counter[str] = field(default_factory=Counter[str])
    tokens: int = 0
    trained_tokens: int = 0
    longest: int = 0


def run(
    config: TrajectoriesConfig, inputs: TrajectoriesInputs, context: StageContext
) -> TrajectoriesFacts:
    """Write `midtrain.jsonl`, `sft.jsonl` and `report.json`."""
    plans = (
        _Plan("midtrain", config.midtrain, config.error_rate, config.agentic_cot_share, ROUNDS),
        _Plan("sft", config.sft, config.sft_error_rate, 0.0, 1),
    )
    tasks = {plan.split: _read_tasks(inputs.tasks.split(plan.split)) for plan in plans}
    commands = any(task["environment"] == "files" for split in tasks.values() for task in split)
    world = load_world(inputs.tasks.world)
    sandbox = None
    if commands:
        sandbox = open_sandbox(config.sandbox_tier, world.files, text_tools=True)
    try:
        studio = _Studio(config, world, sandbox, load_tokenizer(inputs.tokenizer.path))
        tallies = {
            plan.split: _write_split(plan, tasks[plan.split], studio, context) for plan in plans
        }
    finally:
        if sandbox is not None:
            sandbox.close()
    return _report(tallies, studio.dropped, context.out)


def _read_tasks(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _write_split(
    plan: _Plan, tasks: list[dict[str, Any]], studio: _Studio, context: StageContext
) -> _Tally:
    tally = _Tally()
    seen: set[str] = set()
    kept = 0
    with (context.out / f"{plan.split}.jsonl").open("w", encoding="utf-8", newline="\n") as out:
        for conversation in _conversations(plan, tasks, studio, context):
            if kept >= plan.count:
                break
            stored = conversation.to_json()
            same = json.dumps([stored["style"], stored["messages"]])
            if same in seen:
                studio.dropped["duplicate"] += 1
                continue
            if not _measure(conversation, studio, tally):
                studio.dropped["too_long"] += 1
                continue
            seen.add(same)
            kept += 1
            out.write(json.dumps(stored, ensure_ascii=False) + "\n")
            if kept % 500 == 0:
                context.journal.progress(kept, plan.count, f"{plan.split} conversations")
    if plan.count and not kept:
        raise BadInput(
            f"no conversation of the split {plan.split} was kept ({dict(studio.dropped)}); "
            "make more tasks for that split or raise max_tokens"
        )
    return tally


def _conversations(
    plan: _Plan, tasks: list[dict[str, Any]], studio: _Studio, context: StageContext
) -> Iterator[Conversation]:
    """Yield verified conversations, a parent before its branch, rounds with other draws each."""
    for turn in range(plan.rounds):
        for number, task in enumerate(tasks):
            if context.stop_requested():
                raise Stopped(f"stopped while making {plan.split}; the step starts over")
            rng = _draws(studio.config.seed, plan.split, str(turn), task["id"])
            name = f"{plan.split}-{turn}-{number:05d}"
            yield from _solve(plan, task, name, studio, rng)


def _solve(
    plan: _Plan, task: dict[str, Any], name: str, studio: _Studio, rng: Random
) -> Iterator[Conversation]:
    config = studio.config
    style = "agentic_cot" if rng.random() < plan.cot_share else "direct"
    disturbed, keep_parent = rng.random() < plan.error_rate, rng.random() < config.branch_rate
    transient = rng.random() < config.transient_share
    clean = _verified(_attempt(task, style, studio), studio)
    if clean is None:
        return
    base = Conversation(
        messages=clean.messages,
        tools=tools_of(task["environment"]) if config.describe_tools else None,
        task=task["id"],
        family="agentic_cot" if style == "agentic_cot" else task["family"],
        id=name,
        split=plan.split,
        style=style,
    )
    if not disturbed:
        yield base
        return
    fault = Fault(rng.randrange(clean.calls), transient)
    branch = _verified(_attempt(task, style, studio, fault, rng), studio)
    if keep_parent or branch is None:
        yield base
    if branch is not None:
        forked = Branch(name, branch.fork, branch.mistake)
        yield replace(base, id=f"{name}-b", messages=branch.messages, branch=forked)


def _attempt(
    task: Mapping[str, Any],
    style: str,
    studio: _Studio,
    fault: Fault | None = None,
    rng: Random | None = None,
) -> Played:
    environment = open_environment(task, studio.world, studio.sandbox)
    try:
        return play(task, environment, style, fault, rng)
    finally:
        environment.close()


def _verified(played: Played, studio: _Studio) -> Played | None:
    """Return the attempt if its answer is right and no tool was lost; count the cause otherwise."""
    if played.infrastructure:
        studio.dropped["infrastructure"] += 1
    elif not played.correct:
        studio.dropped["wrong_answer"] += 1
    else:
        return played
    return None


def _measure(conversation: Conversation, studio: _Studio, tally: _Tally) -> bool:
    """Count a conversation into the tally unless it is longer than allowed."""
    ids, mask = encode(conversation, studio.tokenizer)
    if studio.config.max_tokens and len(ids) > studio.config.max_tokens:
        return False
    tally.families[conversation.family] += 1
    tally.styles[conversation.style] += 1
    if conversation.branch:
        tally.mistakes[conversation.branch.mistake] += 1
    tally.tokens += len(ids)
    tally.trained_tokens += sum(mask)
    tally.longest = max(tally.longest, len(ids))
    return True


def _report(tallies: dict[str, _Tally], dropped: Counter[str], out: Path) -> TrajectoriesFacts:
    facts = TrajectoriesFacts(
        conversations={split: tally.families.total() for split, tally in tallies.items()},
        families={split: dict(sorted(tally.families.items())) for split, tally in tallies.items()},
        tokens={split: tally.tokens for split, tally in tallies.items()},
        trained_tokens={split: tally.trained_tokens for split, tally in tallies.items()},
        dropped=dict(sorted(dropped.items())),
    )
    report = facts.model_dump() | {
        "styles": {split: dict(sorted(tally.styles.items())) for split, tally in tallies.items()},
        "mistakes": {
            split: dict(sorted(tally.mistakes.items())) for split, tally in tallies.items()
        },
        "longest_tokens": {split: tally.longest for split, tally in tallies.items()},
    }
    text = json.dumps(report, indent=1, sort_keys=True)
    (out / "report.json").write_text(text + "\n", encoding="utf-8")
    return facts


def _draws(seed: int, *names: str) -> Random:
    digest = hashlib.sha256(":".join((str(seed), *names)).encode()).digest()
    return Random(int.from_bytes(digest[:8], "big"))
