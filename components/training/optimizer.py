"""Muon for the matrices of the blocks and AdamW for everything else, in plain tensor operations.

Both are written out so that their whole state is a flat dictionary of tensors, which safetensors
stores and restores bit by bit. Muon: Jordan et al. 2024, "Muon: an optimizer for hidden layers".
AdamW: Loshchilov and Hutter 2019, arXiv 1711.05101.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
"""Coefficients and steps of Muon's authors: singular values end between about 0.7 and 1.2."""


@dataclass(frozen=True)
class OptimizerSettings:
    """Set both optimizers; without `matrix_learning_rate` AdamW takes all parameters."""

    learning_rate: float
    matrix_learning_rate: float | None = None
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = 1e-8
    momentum: float = 0.95


@torch.no_grad()
def orthogonalize(matrices_KMN: torch.Tensor) -> torch.Tensor:
    """Bring all singular values of K wide matrices near one: a quintic Newton-Schulz iteration."""
    a, b, c = NEWTON_SCHULZ
    x = matrices_KMN / (matrices_KMN.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = torch.bmm(x, x.transpose(1, 2))
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x


class AdamW:
    """Scale each gradient by its running size; decay of matrices is decoupled."""

    def __init__(
        self, parameters: Sequence[tuple[str, nn.Parameter]], settings: OptimizerSettings
    ) -> None:
        self.settings = settings
        self.parameters = dict(parameters)
        self.first = {name: torch.zeros_like(tensor) for name, tensor in parameters}
        self.second = {name: torch.zeros_like(tensor) for name, tensor in parameters}
        self.updates = 0

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update the parameters from their gradients."""
        beta1, beta2 = self.settings.betas
        self.updates += 1
        rate = learning_rate / (1 - beta1**self.updates)
        root = math.sqrt(1 - beta2**self.updates)
        for name, parameter in self.parameters.items():
            gradient, first, second = _gradient(parameter), self.first[name], self.second[name]
            first.lerp_(gradient, 1 - beta1)
            second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            divisor = second.sqrt().div_(root).add_(self.settings.epsilon)
            if parameter.ndim == 2 and self.settings.weight_decay:
                parameter.mul_(1 - learning_rate * self.settings.weight_decay)
            parameter.addcdiv_(first, divisor, value=-rate)

    def state(self) -> dict[str, torch.Tensor]:
        """Return first and second moments and the number of updates."""
        return {
            **{f"first.{name}": tensor for name, tensor in self.first.items()},
            **{f"second.{name}": tensor for name, tensor in self.second.items()},
            "updates": torch.tensor([self.updates]),
        }

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over what `state` returned."""
        for name in self.parameters:
            self.first[name].copy_(state[f"first.{name}"])
            self.second[name].copy_(state[f"second.{name}"])
        self.updates = int(state["updates"])


@dataclass(frozen=True)
class _SameShape:
    """Hold matrices that are wide in one shape, tall ones transposed, and their stacked momenta."""

    names: list[str]
    parameters: list[nn.Parameter]
    momenta_KMN: torch.Tensor

    def gradients(self) -> torch.Tensor:
        return torch.stack([_wide(_gradient(parameter)) for parameter in self.parameters])


def _same_shape(named: Sequence[tuple[str, nn.Parameter]]) -> _SameShape:
    parameters = [parameter for _, parameter in named]
    zeros = [torch.zeros_like(_wide(parameter.detach())) for parameter in parameters]
    return _SameShape([name for name, _ in named], parameters, torch.stack(zeros))


class Muon:
    """Step along the orthogonalized momentum; matrices of one shape are treated together."""

    def __init__(
        self, parameters: Sequence[tuple[str, nn.Parameter]], settings: OptimizerSettings
    ) -> None:
        self.settings = settings
        by_shape: dict[tuple[int, ...], list[tuple[str, nn.Parameter]]] = defaultdict(list)
        for name, parameter in parameters:
            by_shape[tuple(sorted(parameter.shape))].append((name, parameter))
        self.groups = [_same_shape(group) for group in by_shape.values()]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update the parameters from their gradients (Nesterov momentum, then Newton-Schulz).

        The step grows by sqrt(rows / columns) for tall matrices, as in the authors' code.
        """
        momentum, decay = self.settings.momentum, learning_rate * self.settings.weight_decay
        for group in self.groups:
            gradients_KMN = group.gradients()
            group.momenta_KMN.lerp_(gradients_KMN, 1 - momentum)
            direction_KMN = orthogonalize(gradients_KMN.lerp_(group.momenta_KMN, momentum))
            for parameter, direction_MN in zip(group.parameters, direction_KMN, strict=True):
                rows, columns = parameter.shape
                if decay:
                    parameter.mul_(1 - decay)
                scale = math.sqrt(max(1.0, rows / columns))
                update = direction_MN.T if rows > columns else direction_MN
                parameter.add_(update, alpha=-learning_rate * scale)

    def state(self) -> dict[str, torch.Tensor]:
        """Return the momenta; those of tall matrices are transposed."""
        return {
            f"momentum.{name}": momentum_MN
            for group in self.groups
            for name, momentum_MN in zip(group.names, group.momenta_KMN, strict=True)
        }

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over what `state` returned."""
        for name, momentum_MN in self.state().items():
            momentum_MN.copy_(state[name])


class Optimizer:
    """Join Muon and AdamW: one step, one state."""

    def __init__(self, model: nn.Module, settings: OptimizerSettings) -> None:
        self.settings = settings
        matrices, rest = split_parameters(model.named_parameters())
        if settings.matrix_learning_rate is None:
            matrices, rest = [], [*matrices, *rest]
        self.muon = Muon(matrices, settings)
        self.adamw = AdamW(rest, settings)

    def step(self, factor: float = 1.0) -> None:
        """Update all parameters; `factor` scales both learning rates."""
        self.muon.step((self.settings.matrix_learning_rate or 0.0) * factor)
        self.adamw.step(self.settings.learning_rate * factor)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the whole state as named tensors; they are the live ones, not copies."""
        return {
            **{f"muon.{name}": tensor for name, tensor in self.muon.state().items()},
            **{f"adamw.{name}": tensor for name, tensor in self.adamw.state().items()},
        }

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over what `state_dict` returned; raises KeyError where a tensor is missing."""
        self.muon.load(under("muon.", state))
        self.adamw.load(under("adamw.", state))


def split_parameters(
    named: Iterable[tuple[str, nn.Parameter]],
) -> tuple[list[tuple[str, nn.Parameter]], list[tuple[str, nn.Parameter]]]:
    """Divide parameters into matrices of the blocks and the rest: embedding, output, norms."""
    matrices: list[tuple[str, nn.Parameter]] = []
    rest: list[tuple[str, nn.Parameter]] = []
    for name, parameter in named:
        inside = parameter.ndim == 2 and "embed_tokens" not in name and "lm_head" not in name
        (matrices if inside else rest).append((name, parameter))
    return matrices, rest


def _gradient(parameter: nn.Parameter) -> torch.Tensor:
    assert parameter.grad is not None, "a parameter without a gradient"
    return parameter.grad


def _wide(matrix: torch.Tensor) -> torch.Tensor:
    return matrix.T if matrix.shape[0] > matrix.shape[1] else matrix


def under(prefix: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }
