"""The training loop: batches in, guarded updates out, resumable at every step.

Everything that differs between stages is an argument: the batch of a step (a pure function of it),
the loss, the schedule, and plain functions called after a step. Left out: epochs and data loaders
(a batch is named by its step), and callbacks.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch

from components.contract import EnvironmentMissing, GuardStop, StageContext, Stopped
from components.model.transformer import YoutuModel
from components.training.corruption import WeightWatch
from components.training.engine import Course, Found, LossFunction, Signals, open_engine
from components.training.guards import Guard, GuardSettings, Verdict
from components.training.loss import Batch, next_token_loss
from components.training.optimizer import OptimizerSettings
from components.training.parallel import (
    connect,
    from_each_rank,
    peers_may_go,
    rank_rows,
    wait_for_all,
)
from components.training.resume import ResumePoint, ResumeWriter, newest_resume_point
from components.training.scale import LossScale
from components.training.throughput import Meter

ANCHOR_STEPS = 200
"""Steps between anchors, the resume points that a rollback may go back to.

Anchors are placed by step alone: the time of a save must not decide where a rollback leads.
"""
PROGRESS_SECONDS = 0.5

BatchSource = Callable[[int, range], Batch]
"""Give the sequences `rows` of the batch of a step; a pure function."""


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
    optimizer: OptimizerSettings
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
    device = torch.device("cpu")
    if resources.device == "cuda":
        if torch.cuda.device_count() < resources.processes:
            raise EnvironmentMissing(
                f"step {context.step} asks for {resources.processes} GPUs and this machine has "
                f"{torch.cuda.device_count()}: set resources.{context.step}.processes"
            )
        device = torch.device("cuda", context.rank % resources.processes)
        torch.cuda.set_device(device)
    connect(context)
    return device


def train(training: Training, context: StageContext) -> Trained:
    """Train to the last step, from the newest resume point if there is one.

    Raises Stopped after a resume point is saved when a stop is requested on any rank, and GuardStop
    when guards give up.
    """
    with peers_may_go(context), ResumeWriter(context, anchor_every=ANCHOR_STEPS) as writer:
        run = _Run(training, context, writer)
        run.restore()
        training.model.train()
        while run.step < training.steps:
            verdict, found = run.one_step()
            if verdict == "rollback":
                run.go_back()
            if run.step == training.steps:
                break
            if found.stop or found.save or run.step % ANCHOR_STEPS == 0:
                run.save()
            if found.stop:
                writer.wait()
                wait_for_all(context)
                raise Stopped(f"step {context.step}: resume point at step {run.step}")
        writer.wait()
        wait_for_all(context)
    guard = run.guard
    return Trained(run.step, run.tokens, guard.recent_loss(), guard.skipped, guard.rollbacks)


class _Run:
    """Hold what changes while training: counters, guard, engine."""

    def __init__(self, training: Training, context: StageContext, writer: ResumeWriter) -> None:
        self.training = training
        self.context = context
        self.writer = writer
        self.step = 0
        self.tokens = 0
        self.guard = Guard(training.guard)
        self.engine = open_engine(
            Course(training.model, training.loss, training.optimizer, training.gradient_clip),
            context,
        )
        self.watch = WeightWatch(training.model.parameters(), context)
        self.scale = LossScale() if context.resources.precision == "fp16" else None
        self.meter = Meter()
        self.saved = time.monotonic()
        self.reported = 0.0

    def one_step(self) -> tuple[Verdict, Found]:
        """Make one step; return the guard's verdict and what all ranks found."""
        training, step, context = self.training, self.step, self.context
        rows = rank_rows(training.rows(step), context)
        batch = training.batch(step, rows).to(next(training.model.parameters()).device)
        scale = self.scale.value if self.scale else None
        found = self.engine.gradient(batch, self._signals(), scale)
        if self.scale and self.scale.overflowed(found.loss, found.norm):
            verdict: Verdict = "skip"
        else:
            verdict = self.guard.judge(found.loss, found.norm)
        factor = training.schedule(step)
        self.watch.check(step)
        if verdict == "apply":
            self.engine.update(factor)
            self.watch.updated()
        else:
            self.engine.leave_out()
        self.step += 1
        self.tokens += batch.tokens * context.world_size
        self._report(verdict, found, factor)
        if verdict == "stop":
            raise GuardStop(
                f"step {context.step}: loss {found.loss:.4g} and gradient norm {found.norm:.4g} at "
                f"optimizer step {step}, after {self.guard.rollbacks} rollbacks. Lower "
                f"{context.step}.learning_rate and matrix_learning_rate, or another seed."
            )
        return verdict, found

    def _signals(self) -> Signals:
        """Ask for a resume point when the last one is old; what all saved, all find old alike.

        Points between anchors change nothing but what a crash loses.
        """
        old = time.monotonic() - self.saved > self.context.resources.resume_seconds
        return Signals(self.context.stop_requested(), old and self.context.rank == 0)

    def _report(self, verdict: Verdict, found: Found, factor: float) -> None:
        journal, training = self.context.journal, self.training
        rate = training.optimizer.learning_rate * factor
        journal.metric(
            self.step,
            train__loss=found.loss,
            train__gradient_norm=found.norm,
            train__learning_rate=rate,
            perf__tokens_per_second=self.meter.rate(self.tokens),
            tokens=self.tokens,
        )
        if verdict != "apply":
            values = {"loss": str(found.loss), "gradient_norm": str(found.norm)}
            journal.event("update left out", step=self.step, verdict=verdict, **values)
        if self.step == training.steps or time.monotonic() - self.reported > PROGRESS_SECONDS:
            self.reported = time.monotonic()
            journal.progress(self.step, training.steps, "steps")
        report = StepReport(self.step, training.steps, self.tokens, found.loss)
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
        if self.scale and point.values.get("scale"):
            self.scale = LossScale(**point.values["scale"])
        self.context.journal.event("resumed", step=self.step)

    def go_back(self) -> None:
        """Take the weights of the last anchor before the bad steps and go on with the next data."""
        self.writer.wait()
        before = max(0, self.step - self.guard.bad_steps)
        anchor = newest_resume_point(self.context, at_most=before, multiple_of=ANCHOR_STEPS)
        if anchor is None:
            raise GuardStop(f"step {self.context.step}: no resume point to go back to")
        self._load(anchor)
        self.guard.went_back(anchor.values["guard"]["losses"])
        self.context.journal.event("rollback", step=self.step, to=anchor.step)

    def save(self) -> None:
        """Save a resume point: all ranks give their part, rank 0 writes it."""
        self.saved = time.monotonic()
        generators = from_each_rank(_generators(self.context), self.context)
        tensors = itertools.chain(
            self.engine.tensors(),
            ((f"rng.{rank}", state) for rank, state in enumerate(generators)),
        )
        if self.context.rank == 0 and self.watch.sound():
            values = {
                "tokens": self.tokens,
                "guard": self.guard.state(),
                "scale": asdict(self.scale) if self.scale else None,
            }
            self.writer.save(self.step, tensors, values)
        else:
            deque(tensors, maxlen=0)  # putting them together takes every rank

    def _load(self, point: ResumePoint) -> None:
        self.engine.load(point.tensors)
        self.watch.updated()
        state = point.tensors.get(f"rng.{self.context.rank}")
        if state is not None:  # none for a rank that was not there
            _set_generators(state)


def _generators(context: StageContext) -> torch.Tensor:
    """Return the state of this rank's random generators as bytes."""
    states = [torch.get_rng_state()]
    if context.resources.device == "cuda":
        states.append(torch.cuda.get_rng_state())
    return torch.cat(states)


def _set_generators(states: torch.Tensor) -> None:
    size = len(torch.get_rng_state())
    torch.set_rng_state(states[:size].clone())
    if len(states) > size:
        torch.cuda.set_rng_state(states[size:].clone())
