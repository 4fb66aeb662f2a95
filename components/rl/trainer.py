"""Optimizer steps of the policy on one batch of episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from components.model.transformer import YoutuModel
from components.rl.config import RlConfig
from components.rl.grpo import (
    Episode,
    Measured,
    MicroBatch,
    clipped_loss,
    micro_batches,
    policy_logprobs,
)

ADAMW_STATE = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Update:
    """Hold what one batch's optimizer steps showed."""

    loss: float
    """Mean loss a sampled token, over the optimizer steps."""
    clip_fraction: float
    """Share of sampled tokens without gradient in the last optimizer step."""
    gap_mean: float
    """Mean |trainer's log-probability - sampler's| before the first optimizer step."""
    gap_max: float
    """Its maximum; both are rounding alone while trainer and sampler are the same policy."""
    gradient_norm: float
    """Norm of the last gradient before clipping."""

    def metrics(self) -> dict[str, float]:
        """Return what the journal gets of the update."""
        return {
            "train/loss": self.loss,
            "train/gradient_norm": self.gradient_norm,
            "rl/clip_fraction": self.clip_fraction,
            "rl/trainer_sampler_gap": self.gap_mean,
            "rl/trainer_sampler_gap_max": self.gap_max,
        }


class PolicyTrainer:
    """Hold the optimizer of a policy; `updates` counts its steps."""

    def __init__(
        self,
        model: YoutuModel,
        config: RlConfig,
        forbidden_V: torch.Tensor,
        *,
        micro_batch: int = 0,
    ) -> None:
        self.model = model
        self.config = config
        self.forbidden_V = forbidden_V
        self.micro_batch = micro_batch
        self.updates = 0
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )

    def update(self, episodes: Sequence[Episode], *, batch_tokens: int = 0) -> Update:
        """Take the configured number of optimizer steps, each on all episodes.

        `batch_tokens` counts the sampled tokens of the whole step, groups without spread included;
        the gradient is a mean over them. Without it a step with one live group would move the
        weights as far as one with thirty.
        """
        device = self.forbidden_V.device
        batches = micro_batches(episodes, rows=self.micro_batch, device=device)
        tokens = sum(len(batch.target_N) for batch in batches)
        steps: list[Measured] = []
        norm = 0.0
        for _ in range(self.config.optimizer_steps_per_batch):
            self._set_rate()
            measured, norm = self._step(batches, max(tokens, batch_tokens))
            steps.append(measured)
        return Update(
            loss=sum(step.loss for step in steps) / tokens / len(steps),
            clip_fraction=steps[-1].clipped / tokens,
            gap_mean=steps[0].gap_sum / tokens,
            gap_max=steps[0].gap_max,
            gradient_norm=norm,
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return weights and AdamW's state by name, for a resume point."""
        found: dict[str, torch.Tensor] = {}
        for name, weight in self.model.named_parameters():
            found[f"weights/{name}"] = weight.detach()
            for kind, tensor in self.optimizer.state.get(weight, {}).items():
                found[f"{kind}/{name}"] = tensor
        return found

    def restore(self, tensors: Mapping[str, torch.Tensor], updates: int) -> None:
        """Take over what `tensors` returned, bit by bit; raises KeyError for a missing weight."""
        self.updates = updates
        for name, weight in self.model.named_parameters():
            weight.data.copy_(tensors[f"weights/{name}"])
            self.optimizer.state[weight] |= {
                # AdamW keeps its step counter on the CPU whatever the weights' device.
                kind: tensors[key].to("cpu" if kind == "step" else weight.device, copy=True)
                for kind in ADAMW_STATE
                if (key := f"{kind}/{name}") in tensors
            }

    def _set_rate(self) -> None:
        warm = min(1.0, (self.updates + 1) / max(1, self.config.warmup_steps))
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * warm

    def _step(self, batches: Sequence[MicroBatch], tokens: int) -> tuple[Measured, float]:
        """Accumulate the gradient of the mean over `tokens` tokens, clip it and step.

        A gradient that is not finite leaves the weights as they are; the caller sees the loss.
        """
        measured = Measured()
        for batch in batches:
            logprob_N = policy_logprobs(
                self.model,
                batch,
                temperature=self.config.temperature,
                forbidden_V=self.forbidden_V,
            )
            loss, part = clipped_loss(logprob_N, batch, self.config.clip)
            (loss / tokens).backward()
            measured = measured.plus(part)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        if torch.isfinite(norm):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.updates += 1
        return measured, float(norm)
