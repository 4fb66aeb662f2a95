"""ZeRO through DeepSpeed: each rank keeps a part of AdamW's state, and of gradients with `zero2`.

Rajbhandari et al. 2020, arXiv 1910.02054. Data, loss, clipping, schedule and guard are those of
plain data parallelism; sums are made in another order, so that equality is one of rounding. Weights
stay whole and fp32 on every rank, and products take bf16 or fp16 by autocast as everywhere else:
DeepSpeed is told nothing of either. A resume point holds the whole state under the names of the
plain optimizer, put together from the ranks, in place of DeepSpeed's own shards: it needs no
conversion for another number of ranks, nothing in it is pickled, and one rank writes it. Left out:
ZeRO-3, offloading, and Muon, which needs whole matrices.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from components.contract import BadInput, StageContext
from components.model.transformer import YoutuModel
from components.training.engine import Course, Found, Signals, autocast
from components.training.loss import Batch
from components.training.optimizer import OptimizerSettings, under
from components.training.parallel import backend_of, sum_over_ranks

MOMENTS = {"first": "exp_avg", "second": "exp_avg_sq"}
"""Our names of AdamW's moments, and torch's."""


class Zero:
    """Share out AdamW's state over the ranks."""

    def __init__(self, course: Course, context: StageContext) -> None:
        if course.optimizer.matrix_learning_rate is not None:
            raise BadInput(
                f"step {context.step}: parallel={context.resources.parallel} shares out AdamW's "
                f"state and cannot train with Muon; set {context.step}.matrix_learning_rate=null, "
                f"or resources.{context.step}.parallel=data"
            )
        self.course = course
        self.context = context
        self.engine = _initialize(course, context)
        self.sharded = self.engine.optimizer
        self._make_states()

    def gradient(self, batch: Batch, signals: Signals, scale: float | None) -> Found:
        """Compute the mean gradient; each rank ends with the sum of its own part."""
        context, course = self.context, self.course
        asked = [batch.loss_tokens, float(signals.stop), float(signals.save)]
        count, stops, saves = self._summed(asked)
        self.sharded.override_loss_scale(scale or 1.0)
        share = context.world_size / max(count, 1.0)  # DeepSpeed takes the mean over ranks
        rows = len(batch.ids_BS)
        size = context.resources.micro_batch or rows
        losses: list[torch.Tensor] = []
        for start in range(0, rows, size):
            self.engine.set_gradient_accumulation_boundary(start + size >= rows)
            with autocast(context):
                loss, _ = course.loss(course.model, batch.rows(start, start + size))
            self.engine.backward(loss * share, scale_wrt_gas=False)
            losses.append(loss.detach())
        loss_sum = self._summed([float(torch.stack(losses).sum())])[0]
        norm = float(self.sharded.scaled_global_norm()) / (scale or 1.0)
        if norm < 0:  # what DeepSpeed says for NaN and infinity
            norm = math.nan
        return Found(loss_sum / count if count else math.nan, norm, stops > 0, saves > 0)

    def update(self, factor: float) -> None:
        """Make the update; DeepSpeed clips by the norm over all ranks."""
        for group in self.sharded.param_groups:
            group["lr"] = self.course.optimizer.learning_rate * factor
        self.engine.step()

    def leave_out(self) -> None:
        """Forget the gradient: DeepSpeed drops one that is not finite, so it is made so."""
        for parts in self.sharded.averaged_gradients.values():
            for part in parts or ():
                part.fill_(math.nan)
        self.engine.step()

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield weights and optimizer, each put together from all ranks."""
        from deepspeed.utils import safe_get_full_optimizer_state

        for name, tensor in self.course.model.state_dict().items():
            yield f"model.{name}", tensor
        for name, parameter in self.course.model.named_parameters():
            for ours, theirs in MOMENTS.items():
                whole = safe_get_full_optimizer_state(parameter, theirs)
                assert whole is not None, f"{name} has no {theirs}"
                yield f"optimizer.adamw.{ours}.{name}", whole
        updates = int(next(iter(self._states()))["step"])
        yield "optimizer.adamw.updates", torch.tensor([updates])

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take over what `tensors` gave; each rank keeps its part."""
        from deepspeed.utils import safe_set_full_optimizer_state

        self.course.model.load_state_dict(under("model.", tensors))
        self.sharded.refresh_fp32_params()
        for name, parameter in self.course.model.named_parameters():
            for ours, theirs in MOMENTS.items():
                whole = tensors[f"optimizer.adamw.{ours}.{name}"]
                safe_set_full_optimizer_state(parameter, whole, theirs)
        for state in self._states():
            state["step"].fill_(int(tensors["optimizer.adamw.updates"]))

    def _states(self) -> Iterator[dict[str, torch.Tensor]]:
        for part in self.sharded.single_partition_of_fp32_groups:
            yield self.sharded.optimizer.state[part]

    def _make_states(self) -> None:
        """Make the moments now: AdamW does at its first step, and a resume point may come first."""
        for part in self.sharded.single_partition_of_fp32_groups:
            moments = {name: torch.zeros_like(part) for name in MOMENTS.values()}
            for moment in moments.values():
                moment.requires_grad_(False)
            self.sharded.optimizer.state[part] = {"step": torch.tensor(0.0), **moments}
        self.sharded._lazy_init_hp_params_optimizer_state()

    def _summed(self, values: list[float]) -> list[float]:
        vector = torch.tensor(values)
        sum_over_ranks(vector, self.context)
        return vector.tolist()


def _initialize(course: Course, context: StageContext) -> Any:
    """Start DeepSpeed on the group that the ranks have joined, without compiled operators."""
    resources = context.resources
    os.environ["DS_BUILD_OPS"] = "0"
    os.environ["DS_ACCELERATOR"] = resources.device
    import deepspeed
    from deepspeed.utils import logger

    logger.setLevel(logging.WARNING)
    deepspeed.init_distributed(backend_of(resources), dist_init_required=False)
    share = resources.micro_batch or 1
    engine, *_ = deepspeed.initialize(
        model=course.model,
        optimizer=_adamw(course.model, course.optimizer),
        dist_init_required=False,
        config={
            "train_micro_batch_size_per_gpu": share,
            "gradient_accumulation_steps": 1,
            "gradient_clipping": course.gradient_clip,
            "steps_per_print": None,
            "zero_optimization": {"stage": int(resources.parallel.removeprefix("zero"))},
            "zero_force_ds_cpu_optimizer": False,
        },
    )
    return engine


def _adamw(model: YoutuModel, settings: OptimizerSettings) -> torch.optim.AdamW:
    """Return torch's AdamW with the settings of ours: matrices decay, vectors do not."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim == 2], "decay": settings.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim != 2], "decay": 0.0},
    ]
    return torch.optim.AdamW(
        [{"params": g["params"], "weight_decay": g["decay"]} for g in groups if g["params"]],
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.epsilon,
    )
