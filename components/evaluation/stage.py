"""Stage `evaluate`: score one checkpoint on held-out text, choices, calls and whole episodes.

The same items are scored for every checkpoint of a run, and each outcome is written down, so that
two checkpoints can be compared item by item (`confidence.paired_difference`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch

from components.agents.environment import World, load_world
from components.agents.inference import LockStepEngine
from components.agents.rollout import Rollout, RolloutSettings, rollout
from components.artifacts.types import DOMAINS
from components.contract import BadInput, StageContext, Stopped
from components.evaluation.benchmarks.episodes import score_episodes, score_parsed
from components.evaluation.benchmarks.function_call import score_function_call
from components.evaluation.benchmarks.multiple_choice import score_multiple_choice
from components.evaluation.benchmarks.planning import score_planning
from components.evaluation.benchmarks.text_loss import score_text
from components.evaluation.config import EvaluateConfig, EvaluateFacts, EvaluateInputs
from components.evaluation.items import Item, choose, read_records, summarize, write_scores
from components.model.transformer import YoutuModel
from components.model.weights import load_model, read_strata
from components.sandbox.interface import Sandbox, open_sandbox
from components.shards.loader import open_shards
from components.tokenizer.contract import TextTokenizer, load_tokenizer
from components.training.loop import prepare


@dataclass
class _Bench:
    """Hold what every benchmark needs."""

    config: EvaluateConfig
    inputs: EvaluateInputs
    model: YoutuModel
    tokenizer: TextTokenizer
    engine: LockStepEngine
    world: World
    sandbox: Sandbox | None
    tasks: list[dict[str, Any]]
    infrastructure_failures: int = 0


def run(config: EvaluateConfig, inputs: EvaluateInputs, context: StageContext) -> EvaluateFacts:
    """Write scores.json and items.jsonl; raise BadInput for a tokenizer that is not the model's."""
    items: list[Item] = []
    with ExitStack() as closing:
        bench = _open(config, inputs, context, closing)
        for number, (name, score) in enumerate(BENCHMARKS.items()):
            if context.stop_requested():
                raise Stopped
            items += score(bench)
            context.journal.progress(number + 1, len(BENCHMARKS), "benchmarks")
            context.journal.event("scored", benchmark=name)
    summary = summarize(items, confidence=config.confidence, seed=config.seed)
    write_scores(items, summary, context.out)
    values = {name: float(entry["value"]) for name, entry in summary.items()}
    context.journal.metric(0, **{f"eval/{name}": value for name, value in values.items()})
    return EvaluateFacts(
        scores=values,
        items=len(items),
        split=config.split,
        infrastructure_failures=bench.infrastructure_failures,
    )


def _open(
    config: EvaluateConfig, inputs: EvaluateInputs, context: StageContext, closing: ExitStack
) -> _Bench:
    tokenizer = load_tokenizer(inputs.tokenizer.path)
    trained_with = read_strata(inputs.checkpoint.path)["tokenizer_digest"]
    if trained_with != tokenizer.digest:
        raise BadInput(
            f"The checkpoint of step {inputs.checkpoint.step} was trained with tokenizer"
            f" {trained_with[:12]}, but {tokenizer.digest[:12]} was given."
            " Score it with the tokenizer of its own run."
        )
    model = load_model(inputs.checkpoint.path, device=prepare(context)).eval()
    tasks = read_records(inputs.tasks.split(config.split))
    acting = config.episodes + config.sampled_episodes + config.recovery
    sandbox = None
    if acting and any(task["environment"] == "files" for task in tasks):
        sandbox = open_sandbox(config.sandbox_tier, inputs.tasks.world / "files", text_tools=True)
        closing.callback(sandbox.close)
    return _Bench(
        config,
        inputs,
        model,
        tokenizer,
        LockStepEngine(model, tokenizer),
        load_world(inputs.tasks.world),
        sandbox,
        tasks,
    )


def _text(bench: _Bench) -> list[Item]:
    if not bench.config.text_tokens:
        return []
    shards = open_shards(bench.inputs.shards.path)
    items: list[Item] = []
    for domain in DOMAINS:
        tokens, _ = shards.heldout(domain, bench.config.text_tokens)
        context = min(bench.config.context, bench.model.config.max_positions)
        items += score_text(
            bench.model, bench.tokenizer, tokens.tolist(), domain=domain, context=context
        )
    return items


def _records(bench: _Bench, name: str, count: int) -> list[Mapping[str, Any]]:
    path = bench.inputs.tasks.benchmark(name)
    if not count or not path.exists():
        return []
    return choose(read_records(path, split=bench.config.split), count, seed=bench.config.seed)


def _multiple_choice(bench: _Bench) -> list[Item]:
    records = _records(bench, "multiple_choice", bench.config.multiple_choice)
    return score_multiple_choice(bench.model, bench.tokenizer, records)


def _planning(bench: _Bench) -> list[Item]:
    records = _records(bench, "planning", bench.config.planning)
    return score_planning(bench.model, bench.tokenizer, records)


def _function_call(bench: _Bench) -> list[Item]:
    records = _records(bench, "function_call", bench.config.function_call)
    return score_function_call(
        bench.engine, bench.tokenizer, records, max_turn_tokens=bench.config.max_turn_tokens
    )


def _greedy(bench: _Bench) -> list[Item]:
    episodes = _episodes(bench, bench.config.episodes)
    return score_episodes(episodes, "success/greedy") + score_parsed(episodes, "parsed/greedy")


def _sampled(bench: _Bench) -> list[Item]:
    temperature = bench.config.temperature
    episodes = _episodes(bench, bench.config.sampled_episodes, temperature=temperature)
    return score_episodes(episodes, "success/sampled")


def _recovery(bench: _Bench) -> list[Item]:
    episodes = _episodes(bench, bench.config.recovery, recovery_share=1.0)
    return score_episodes(episodes, "recovery")


def _episodes(
    bench: _Bench, count: int, *, temperature: float = 0.0, recovery_share: float = 0.0
) -> list[Rollout]:
    config = bench.config
    settings = RolloutSettings(
        max_turns=config.max_turns,
        max_tokens=config.max_tokens,
        max_turn_tokens=config.max_turn_tokens,
        temperature=temperature,
        seed=config.seed,
        recovery_share=recovery_share,
        describe_tools=config.describe_tools,
    )
    tasks = choose(bench.tasks, count, seed=config.seed)
    with torch.no_grad():
        episodes = rollout(
            bench.engine, bench.tokenizer, tasks, bench.world, bench.sandbox, settings
        )
    bench.infrastructure_failures += sum(episode.infrastructure for episode in episodes)
    return episodes


BENCHMARKS: dict[str, Callable[[_Bench], list[Item]]] = {
    "text_loss": _text,
    "multiple_choice": _multiple_choice,
    "planning": _planning,
    "function_call": _function_call,
    "episodes, greedy": _greedy,
    "episodes, sampled": _sampled,
    "recovery": _recovery,
}
