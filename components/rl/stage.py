"""Stage `rl`: multi-turn GRPO from a checkpoint, with tools that are really executed.

One process samples and trains with the same weights. Every step is a function of the weights, the
optimizer and (seed, step), so a run that was interrupted writes the bytes of one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from components.agents.environment import World, load_world
from components.agents.inference import LockStepEngine
from components.agents.rollout import RolloutSettings, rollout
from components.contract import BadInput, GuardStop, StageContext, Stopped
from components.model.transformer import YoutuModel
from components.model.weights import load_model, read_strata, save_checkpoint
from components.rl.config import RlConfig, RlFacts, RlInputs
from components.rl.experience import Experience, experience
from components.rl.prompts import prompts_at, read_prompts, step_seed
from components.rl.trainer import PolicyTrainer
from components.sandbox.interface import Sandbox, open_sandbox
from components.tokenizer.contract import TextTokenizer, load_tokenizer
from components.training.loop import prepare
from components.training.resume import ResumeWriter, newest_resume_point


@dataclass
class Totals:
    """Sum up a run for its facts; part of each resume point."""

    rewards: list[float] = field(default_factory=list[float])
    parsed_calls: list[float] = field(default_factory=list[float])
    rollouts: int = 0
    sampled_tokens: int = 0
    live_groups: int = 0
    groups: int = 0
    infrastructure_failures: int = 0

    def add(self, learned: Experience, rollouts: int) -> None:
        self.rewards.append(learned.reward)
        self.parsed_calls.append(learned.parsed_calls)
        self.rollouts += rollouts
        self.sampled_tokens += learned.sampled_tokens
        self.live_groups += learned.live_groups
        self.groups += learned.groups
        self.infrastructure_failures += learned.infrastructure_failures

    def facts(self) -> RlFacts:
        """Return the facts; first and last figures are means over a tenth of the steps."""
        tenth = max(1, len(self.rewards) // 10)
        return RlFacts(
            steps=len(self.rewards),
            rollouts=self.rollouts,
            sampled_tokens=self.sampled_tokens,
            live_group_share=self.live_groups / max(1, self.groups),
            reward_first=math.fsum(self.rewards[:tenth]) / tenth,
            reward_last=math.fsum(self.rewards[-tenth:]) / tenth,
            parsed_call_share=math.fsum(self.parsed_calls[-tenth:]) / tenth,
            infrastructure_failures=self.infrastructure_failures,
        )


@dataclass
class _Run:
    """Hold what lives through the steps."""

    config: RlConfig
    model: YoutuModel
    tokenizer: TextTokenizer
    engine: LockStepEngine
    trainer: PolicyTrainer
    tasks: list[Mapping[str, Any]]
    world: World
    sandbox: Sandbox | None
    writer: ResumeWriter
    totals: Totals


def run(config: RlConfig, inputs: RlInputs, context: StageContext) -> RlFacts:
    """Write the trained checkpoint; raise GuardStop when the loss is not finite."""
    if context.world_size > 1:
        raise BadInput(
            f"Step {context.step} was given {context.world_size} processes, but the rl stage trains"
            " in one: set resources.processes and nodes to 1."
        )
    if context.resources.precision == "fp16":
        raise BadInput(
            f"Step {context.step}: fp16 needs loss scaling, which the rl stage lacks: set"
            f" resources.{context.step}.precision to fp32 or bf16."
        )
    with ExitStack() as closing:
        state = _open(config, inputs, context, closing)
        start = _restore(state, context)
        saved = time.monotonic()
        for step in range(start, config.steps):
            _step(state, step, context)
            done = step + 1
            stopping = context.stop_requested()
            old = time.monotonic() - saved > context.resources.resume_seconds
            if stopping or (old and done < config.steps):
                _save(state, done)
                saved = time.monotonic()
            if stopping:
                state.writer.wait()
                raise Stopped
    before = read_strata(inputs.initial.path)
    save_checkpoint(
        state.model,
        context.out,
        tokenizer_digest=state.tokenizer.digest,
        tokens_seen=before["tokens_seen"] + state.totals.sampled_tokens,
        steps=before["steps"] + state.trainer.updates,
    )
    return state.totals.facts()


def _step(state: _Run, step: int, context: StageContext) -> None:
    """Sample the step's groups, learn from those with spread, report."""
    config = state.config
    tasks = prompts_at(state.tasks, seed=config.seed, step=step, groups=config.groups_per_step)
    settings = RolloutSettings(
        max_turns=config.max_turns,
        max_tokens=config.max_tokens,
        max_turn_tokens=config.max_turn_tokens,
        temperature=config.temperature,
        samples=config.group_size,
        seed=step_seed(config.seed, step),
        recovery_share=config.recovery_share,
        describe_tools=config.describe_tools,
    )
    attempts = rollout(state.engine, state.tokenizer, tasks, state.world, state.sandbox, settings)
    learned = experience(
        attempts, group_size=config.group_size, normalize=config.normalize_advantages
    )
    state.totals.add(learned, len(attempts))
    metrics = learned.metrics()
    if learned.episodes:
        update = state.trainer.update(learned.episodes, batch_tokens=learned.sampled_tokens)
        if not math.isfinite(update.loss) or not math.isfinite(update.gradient_norm):
            raise GuardStop(
                f"Loss or gradient of step {step} is not finite. Lower rl.learning_rate, or look at"
                " rl/trainer_sampler_gap: a large one means trainer and sampler disagree."
            )
        metrics |= update.metrics()
    context.journal.metric(step + 1, **metrics, tokens=state.totals.sampled_tokens)
    context.journal.progress(step + 1, config.steps, "steps")


def _open(config: RlConfig, inputs: RlInputs, context: StageContext, closing: ExitStack) -> _Run:
    tokenizer = load_tokenizer(inputs.tokenizer.path)
    trained_with = read_strata(inputs.initial.path)["tokenizer_digest"]
    if trained_with != tokenizer.digest:
        raise BadInput(
            f"The checkpoint of step {inputs.initial.step} was trained with tokenizer"
            f" {trained_with[:12]}, but {tokenizer.digest[:12]} was given."
            " Give the tokenizer of its own run."
        )
    tasks = read_prompts(inputs.tasks.split("rl"), config.families)
    model = load_model(inputs.initial.path, device=prepare(context))
    engine = LockStepEngine(model, tokenizer)
    trainer = PolicyTrainer(
        model, config, engine.forbidden_V, micro_batch=context.resources.micro_batch
    )
    sandbox = None
    if any(task["environment"] == "files" for task in tasks):
        sandbox = open_sandbox(config.sandbox_tier, inputs.tasks.world / "files", text_tools=True)
        closing.callback(sandbox.close)
    world = load_world(inputs.tasks.world)
    writer = closing.enter_context(ResumeWriter(context))
    return _Run(config, model, tokenizer, engine, trainer, tasks, world, sandbox, writer, Totals())


def _save(state: _Run, done: int) -> None:
    """Write a resume point after `done` steps, while the next ones go on."""
    values = {"updates": state.trainer.updates, "totals": asdict(state.totals)}
    state.writer.save(done, state.trainer.tensors().items(), values)


def _restore(state: _Run, context: StageContext) -> int:
    """Go on from the newest resume point, if there is one; return the next step."""
    point = newest_resume_point(context)
    if point is None:
        return 0
    state.trainer.restore(point.tensors, point.values["updates"])
    state.totals = Totals(**point.values["totals"])
    context.journal.event("resumed", step=point.step)
    return point.step
