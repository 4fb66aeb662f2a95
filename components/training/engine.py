"""What the loop asks of whatever turns batches into updates, and plain data parallelism, which is
one of the two that do.

Each rank takes a slice of the batch, gradients are summed over ranks, every rank makes the same
update. The other one, `zero`, shares out the optimizer. Both keep weights and optimizer in fp32 and
store them under the same names, so that a run may go on with the other one, or with more or fewer
ranks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from components.contract import StageContext
from components.model.transformer import YoutuModel
from components.training.gradients import COUNT, LOSS, SAVE, STOP, GradientBuffer, PairwiseSum
from components.training.loss import Batch
from components.training.optimizer import Optimizer, OptimizerSettings, under
from components.training.parallel import sum_over_ranks

LossFunction = Callable[[YoutuModel, Batch], tuple[torch.Tensor, int]]
"""Give a summed loss and the number of tokens it is over."""


@dataclass(frozen=True)
class Found:
    """Tell what a step's gradient is like, equal on every rank."""

    loss: float
    """Mean over the tokens of all ranks; NaN without any."""
    norm: float
    stop: bool
    """Whether any rank was asked to stop."""
    save: bool
    """Whether any rank finds its last resume point old."""


@dataclass(frozen=True)
class Signals:
    """Tell the other ranks what this one was asked for, along with its gradient."""

    stop: bool
    save: bool


class Engine(Protocol):
    """Turn the batch of a step into one update of the weights."""

    def gradient(self, batch: Batch, signals: Signals, scale: float | None) -> Found:
        """Compute the mean gradient over this rank's slice and those of the others.

        `scale` is the factor of fp16 losses; None where none is needed.
        """
        ...

    def update(self, factor: float) -> None:
        """Clip the gradient and make the update; `factor` scales the learning rates."""
        ...

    def leave_out(self) -> None:
        """Forget the gradient."""
        ...

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield weights (`model.`) and optimizer (`optimizer.`) by name; all ranks must do it."""
        ...

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take over what `tensors` gave, on any number of ranks."""
        ...


@dataclass(frozen=True)
class Course:
    """Bundle what an engine needs besides the batch."""

    model: YoutuModel
    loss: LossFunction
    optimizer: OptimizerSettings
    gradient_clip: float


class DataParallel:
    """Keep everything on every rank; Muon and AdamW."""

    def __init__(self, course: Course, context: StageContext) -> None:
        self.course = course
        self.context = context
        self.optimizer = Optimizer(course.model, course.optimizer)
        self.buffer = GradientBuffer(list(course.model.parameters()))
        self.norm = 0.0

    def gradient(self, batch: Batch, signals: Signals, scale: float | None) -> Found:
        """Sum gradients, losses and counts over micro-batches and ranks."""
        factor = 1.0 if scale is None else scale / (batch.tokens * self.context.world_size)
        size = self.context.resources.micro_batch or len(batch.ids_BS)
        sums = PairwiseSum()
        flat = self.buffer.flat
        for start in range(0, len(batch.ids_BS), size):
            flat.zero_()
            with autocast(self.context):
                loss, count = self.course.loss(self.course.model, batch.rows(start, start + size))
            (loss * factor).backward()
            flat[LOSS] = loss.detach()
            flat[COUNT] = count
            if size < len(batch.ids_BS):
                sums.add(flat.clone())
        if size < len(batch.ids_BS):
            flat.copy_(sums.total())
        flat[STOP], flat[SAVE] = float(signals.stop), float(signals.save)
        sum_over_ranks(flat, self.context)
        loss_sum, count, stops, saves = flat[LOSS:].tolist()
        gradients = self.buffer.gradients.div_(max(count, 1.0) * factor)
        self.norm = float(gradients.norm())
        return Found(loss_sum / count if count else math.nan, self.norm, stops > 0, saves > 0)

    def update(self, factor: float) -> None:
        """Clip the gradient and make the update."""
        if self.norm > self.course.gradient_clip:
            self.buffer.gradients.mul_(self.course.gradient_clip / self.norm)
        self.optimizer.step(factor)

    def leave_out(self) -> None:
        """Forget the gradient: the next one starts from zero anyway."""

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the live tensors, not copies."""
        for name, tensor in self.course.model.state_dict().items():
            yield f"model.{name}", tensor
        for name, tensor in self.optimizer.state_dict().items():
            yield f"optimizer.{name}", tensor

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take over what `tensors` gave."""
        self.course.model.load_state_dict(under("model.", tensors))
        self.optimizer.load_state_dict(under("optimizer.", tensors))


def open_engine(course: Course, context: StageContext) -> Engine:
    """Return the engine that the resources ask for; a single rank has nothing to share out."""
    if context.resources.parallel == "data" or context.world_size == 1:
        return DataParallel(course, context)
    from components.training.zero import Zero  # importing DeepSpeed takes seconds

    return Zero(course, context)


def autocast(context: StageContext) -> AbstractContextManager[Any]:
    """Return the context in which matrix products have the precision asked for."""
    resources = context.resources
    if resources.precision == "fp32":
        return nullcontext()
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}[resources.precision]
    return torch.autocast(resources.device, dtype=kind)
