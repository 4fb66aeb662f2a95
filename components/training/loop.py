"""The training loop: batches in, guarded updates out, resumable at every step.

Everything that differs between stages is an argument: the batch of a step (a pure function of it),
the loss, the schedule, and plain functions called after a step. Left out: epochs and data loaders
(a batch is named by its step), callbacks, and mixed-precision scaling for fp16.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from components.contract import BadInput, GuardStop, StageContext, Stopped
from components.model.transformer import YoutuModel
from components.training.corruption import WeightWatch
from components.training.gradients import COUNT, LOSS, STOP, GradientBuffer, PairwiseSum
from components.training.guards import Guard, GuardSettings, Verdict
from components.training.loss import Batch, next_token_loss
from components.training.optimizer import Optimizer
from components.training.parallel import connect, rank_rows, sum_over_ranks, wait_for_all
from components.training.resume import ResumePoint, newest_resume_point, save_resume_point
from components.training.throughput import Meter

ANCHOR_STEPS = 200
"""Steps between anchors, the resume points that a rollback may go back to.

Anchors are placed by step alone: the time of a save must not decide where a rollback leads.
"""
PROGRESS_SECONDS = 0.5

BatchSource = Callable[[int, range], Batch]
"""Give the sequences `rows` of the batch of a step; a pure function."""
LossFunction = Callable[[YoutuModel, Batch], tuple[torch.Tensor, int]]
"""Give a summed loss and the number of tokens it is over."""


@dataclass(frozen=True)
class StepReport:
    """Tell a function called after a step where training stands."""

    step: int
    """Steps done, this one included."""
    steps: int
    tokens_seen: int
    loss: float


AfterStep = Callable[[StepReport], None]


@dataclass(frozen=True)
class Training:
    """Bundle what is trained, on what, and how."""

    model: YoutuModel
    optimizer: Optimizer
    schedule: Callable[[int], float]
    batch: BatchSource
    rows: Callable[[int], int]
    """Sequences of the batch of a step, over all ranks."""
    steps: int
    gradient_clip: float = 1.0
    loss: LossFunction = next_token_loss
    after_step: tuple[AfterStep, ...] = ()
    guard: GuardSettings = field(default_factory=GuardSettings)


@dataclass(frozen=True)
class Trained:
    """Tell what `train` did; equal for equal training, interrupted or not."""

    steps: int
    tokens_seen: int
    final_loss: float
    skipped_steps: int
    rollbacks: int


def prepare(context: StageContext) -> torch.device:
    """Set threads, determinism and ranks of this process; return the device of the model."""
    resources = context.resources
    torch.set_num_threads(resources.threads or max(1, (os.cpu_count() or 1) // resources.processes))
    # Means use_deterministic_algorithms(True, warn_only=True), which also imports the compiler that
    # nothing here uses: 2 to 5 s a process.
    torch.set_deterministic_debug_mode("warn")
    # Filling fresh memory with NaN is a search for bugs that costs time in every operation.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if resources.precision == "fp16":
        raise BadInput(
            f"step {context.step}: fp16 training needs loss scaling, which is not there; "
            f"set resources.{context.step}.precision to fp32 or bf16"
        )
    connect(context)
    if resources.device == "cuda":
        return torch.device("cuda", context.rank % torch.cuda.device_count())
    return torch.device("cpu")


def train(training: Training, context: StageContext) -> Trained:
    """Train to the last step, from the newest resume point if there is one.

    Raises Stopped after a resume point is saved when a stop is requested on any rank, and GuardStop
    when guards give up.
    """
    run = _Run(training, context)
    run.restore()
    training.model.train()
    while run.step < training.steps:
        verdict, stop = run.one_step()
        if verdict == "rollback":
            run.go_back()
        last = run.step == training.steps
        if stop and not last:
            run.save()
            wait_for_all(context)
            raise Stopped(f"step {context.step}: resume point at step {run.step}")
        if not last:
            run.save_when_due()
    wait_for_all(context)
    guard = run.guard
    return Trained(run.step, run.tokens, guard.recent_loss(), guard.skipped, guard.rollbacks)


class _Run:
    """Hold what changes while training: counters, guard, gradients."""

    def __init__(self, training: Training, context: StageContext) -> None:
        self.training = training
        self.context = context
        self.step = 0
        self.tokens = 0
        self.guard = Guard(training.guard)
        self.buffer = GradientBuffer(list(training.model.parameters()))
        self.watch = WeightWatch(training.model.parameters(), context)
        self.meter = Meter()
        self.saved = time.monotonic()
        self.reported = 0.0

    def one_step(self) -> tuple[Verdict, bool]:
        """Make one step; return the guard's verdict and whether any rank was asked to stop."""
        training, step = self.training, self.step
        tokens = self._accumulate(training, step)
        flat = self.buffer.flat
        loss_sum, count, stops = flat[LOSS:].tolist()
        loss = loss_sum / count if count else float("nan")
        gradients = self.buffer.gradients.div_(max(count, 1.0))
        norm = float(gradients.norm())
        verdict = self.guard.judge(loss, norm)
        factor = training.schedule(step)
        self.watch.check(step)
        if verdict == "apply":
            if norm > training.gradient_clip:
                gradients.mul_(training.gradient_clip / norm)
            training.optimizer.step(factor)
            self.watch.updated()
        self.step += 1
        self.tokens += tokens
        self._report(verdict, {"loss": loss, "norm": norm, "factor": factor})
        if verdict == "stop":
            raise GuardStop(
                f"step {self.context.step}: loss {loss:.4g} and gradient norm {norm:.4g} at "
                f"optimizer step {step}, after {self.guard.rollbacks} rollbacks. Lower "
                f"{self.context.step}.learning_rate and matrix_learning_rate, or another seed."
            )
        return verdict, stops > 0

    def _accumulate(self, training: Training, step: int) -> int:
        """Sum gradients, losses and counts over micro-batches and ranks; return tokens seen."""
        context = self.context
        rows = training.rows(step)
        batch = training.batch(step, rank_rows(rows, context)).to(self.buffer.flat.device)
        share = len(batch.ids_BS)
        size = context.resources.micro_batch or share
        sums = PairwiseSum()
        flat = self.buffer.flat
        for start in range(0, share, size):
            flat.zero_()
            with _autocast(context):
                loss, count = training.loss(training.model, batch.rows(start, start + size))
            loss.backward()
            flat[LOSS] = loss.detach()
            flat[COUNT] = count
            if size < share:
                sums.add(flat.clone())
        if size < share:
            flat.copy_(sums.total())
        flat[STOP] = float(context.stop_requested())
        sum_over_ranks(flat, context)
        return batch.tokens * context.world_size

    def _report(self, verdict: Verdict, at: Mapping[str, float]) -> None:
        journal, training = self.context.journal, self.training
        rate = training.optimizer.settings.learning_rate * at["factor"]
        journal.metric(
            self.step,
            train__loss=at["loss"],
            train__gradient_norm=at["norm"],
            train__learning_rate=rate,
            perf__tokens_per_second=self.meter.rate(self.tokens),
            tokens=self.tokens,
        )
        if verdict != "apply":
            values = {"loss": str(at["loss"]), "gradient_norm": str(at["norm"])}
            journal.event("update left out", step=self.step, verdict=verdict, **values)
        if self.step == training.steps or time.monotonic() - self.reported > PROGRESS_SECONDS:
            self.reported = time.monotonic()
            journal.progress(self.step, training.steps, "steps")
        report = StepReport(self.step, training.steps, self.tokens, at["loss"])
        for function in training.after_step:
            function(report)

    def restore(self) -> None:
        """Go on from the newest resume point; without one, save the start as the first anchor."""
        point = newest_resume_point(self.context, at_most=self.training.steps)
        if point is None:
            self.watch.updated()
            self.save()
            return
        self._load(point)
        self.step = point.step
        self.tokens = int(point.values["tokens"])
        self.guard.load(point.values["guard"])
        self.context.journal.event("resumed", step=self.step)

    def go_back(self) -> None:
        """Take the weights of the last anchor before the bad steps and go on with the next data."""
        before = max(0, self.step - self.guard.bad_steps)
        anchor = newest_resume_point(self.context, at_most=before, multiple_of=ANCHOR_STEPS)
        if anchor is None:
            raise GuardStop(f"step {self.context.step}: no resume point to go back to")
        self._load(anchor)
        self.guard.went_back(anchor.values["guard"]["losses"])
        self.context.journal.event("rollback", step=self.step, to=anchor.step)

    def save_when_due(self) -> None:
        """Save an anchor at its step, and another resume point when the last one is old.

        The points in between change nothing but what a crash loses.
        """
        old = time.monotonic() - self.saved > self.context.resources.resume_seconds
        if old or self.step % ANCHOR_STEPS == 0:
            self.save()

    def save(self) -> None:
        """Save a resume point; rank 0 does it for all, since ranks hold equal state."""
        self.saved = time.monotonic()
        if self.context.rank != 0 or not self.watch.sound():
            return
        weights = self.training.model.state_dict()
        moments = self.training.optimizer.state_dict()
        tensors = {
            **{f"model.{name}": tensor for name, tensor in weights.items()},
            **{f"optimizer.{name}": tensor for name, tensor in moments.items()},
            "rng.cpu": torch.get_rng_state(),
        }
        values: dict[str, Any] = {"tokens": self.tokens, "guard": self.guard.state()}
        save_resume_point(self.context, self.step, tensors, values, anchor_every=ANCHOR_STEPS)

    def _load(self, point: ResumePoint) -> None:
        self.training.model.load_state_dict(point.under("model."))
        self.watch.updated()
        self.training.optimizer.load_state_dict(point.under("optimizer."))
        torch.set_rng_state(point.tensors["rng.cpu"])


def _autocast(context: StageContext) -> AbstractContextManager[Any]:
    resources = context.resources
    if resources.precision == "fp32":
        return nullcontext()
    return torch.autocast(resources.device, dtype=torch.bfloat16)
