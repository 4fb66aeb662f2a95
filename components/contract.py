"""What a stage is: its configuration, its inputs, its circumstances and what it returns.

This module is the one thing every stage, launcher and flow agrees on. It stays outside every code
digest, so that a clearer docstring here does not make all models stale; a change of meaning
raises `CONTRACT_VERSION`, which is part of every artifact key.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

if TYPE_CHECKING:
    from components.artifacts.types import Artifact
    from components.tracking.journal import Journal

CONTRACT_VERSION = 1

Device = Literal["cpu", "cuda"]
Precision = Literal["fp32", "bf16", "fp16"]
Backend = Literal["auto", "gloo", "nccl"]
Parallel = Literal["data", "zero1", "zero2"]


class StageConfig(BaseModel):
    """Hold what an artifact is: every field is identity and enters the key."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def refusal(self, resources: Resources) -> str | None:
        """Say why such resources cannot make the step; None where they can."""
        del resources
        return None


class StageInputs(BaseModel):
    """Name the artifacts a stage reads: a field is an artifact type, `X | None` or `tuple[X,
    ...]`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Facts(BaseModel):
    """Carry what a stage found out about its artifact; small, typed, and part of the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Resources(BaseModel):
    """Say where and how fast a step is made; none of it enters the key."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    device: Device = "cpu"
    """Device of the model's tensors; a stage asked for `cuda` where there is none exits 3."""
    precision: Precision = "fp32"
    """Floating-point format of matrix products; weights and optimizer stay fp32. A CPU takes fp32
    only: it is 60 to 100 times slower at bf16.
    """
    nodes: PositiveInt = 1
    """Machines (pods on a cluster) that train together."""
    processes: PositiveInt = 1
    """Ranks on each node."""
    parallel: Parallel = "data"
    """How ranks share the work: `data` gives each a slice of the batch; `zero1` shares out AdamW's
    state as well, and `zero2` the gradients too (DeepSpeed).
    """
    backend: Backend = "auto"
    """What ranks talk through; `auto` is nccl on GPUs and gloo on CPUs."""
    threads: NonNegativeInt = 0
    """Threads of one rank; 0 takes the machine's cores divided by `processes`."""
    micro_batch: NonNegativeInt = 0
    """Sequences of one forward pass; 0 takes the whole share of the batch."""
    memory_gb: PositiveInt = 8
    """Memory the step may use, in GiB; a request and a limit on a cluster."""
    timeout_hours: float = 24.0
    """Wall time after which the step is ended, in hours."""
    resume_seconds: NonNegativeFloat = 60.0
    """Wall time between resume points, in seconds: what a crash may cost. 0 saves after every
    optimizer step.
    """

    @model_validator(mode="after")
    def _fit_the_device(self) -> Resources:
        if self.device == "cpu" and self.precision != "fp32":
            raise ValueError(
                f"precision={self.precision} needs device=cuda; on a CPU set precision=fp32"
            )
        if self.device == "cpu" and self.backend == "nccl":
            raise ValueError("backend=nccl needs device=cuda; on a CPU set backend=auto")
        if self.device == "cuda" and self.backend == "gloo" and self.parallel != "data":
            raise ValueError(f"parallel={self.parallel} on GPUs needs nccl; set backend=auto")
        return self


@dataclass(frozen=True)
class StageContext:
    """Tell a stage where it runs; nothing in here may change the bytes of the artifact."""

    out: Path
    """Directory the artifact's content files are written to; empty at the start."""
    resume: Path
    """Directory for this attempt's resume points."""
    earlier_resumes: tuple[Path, ...]
    """Resume directories of earlier attempts at the same key, newest first."""
    scratch: Path
    """Directory for downloads and temporary files; kept between runs, safe to lose."""
    journal: Journal
    resources: Resources
    step: str
    """The use of the stage in the recipe, for messages only."""
    revisions: Mapping[str, str] = field(default_factory=dict[str, str])
    """What each source of the configuration held when the plan was made: name to revision."""
    rank: int = 0
    world_size: int = 1
    stop_requested: Callable[[], bool] = lambda: False
    """True once SIGTERM came or a newer attempt took over: save a resume point and raise
    `Stopped`.
    """


class Stopped(Exception):
    """Leave a stage after its resume point is saved, because `stop_requested()` said so (exit
    143).
    """


class StageFailure(Exception):
    """Base of the failures whose cause decides the exit code; the message names cause and fix."""

    exit_code = 1


class BadInput(StageFailure):
    """Report input or configuration that the user must change (exit 2)."""

    exit_code = 2


class EnvironmentMissing(StageFailure):
    """Report that this machine lacks what the step needs: a device, a sandbox tier, a program
    (exit 3).
    """

    exit_code = 3


class GuardStop(StageFailure):
    """Report that a training guard ended the step: the loss is not finite or does not recover
    (exit 4).
    """

    exit_code = 4


class NotFound(StageFailure):
    """Report that something named does not exist (exit 5)."""

    exit_code = 5


class TryAgain(StageFailure):
    """Report that a service is away for the moment (exit 75)."""

    exit_code = 75


StageFunction = Callable[[Any, Any, StageContext], Facts]


@dataclass(frozen=True)
class Stage:
    """Join a stage's name, configuration, inputs, artifact type and code.

    `run` and `sources` are `module:function` strings, so that the table of stages imports no
    torch. `sources` maps a configuration to the revision of each external source it names;
    `packages` are the libraries whose version shapes the content.
    """

    name: str
    config: type[StageConfig]
    needs: type[StageInputs]
    makes: type[Artifact]
    run: str
    packages: tuple[str, ...] = ()
    sources: str | None = None

    def load(self) -> StageFunction:
        """Import the stage's code and return its function."""
        return load_function(self.run)

    def revisions(self, config: StageConfig) -> dict[str, str]:
        """Resolve each source of `config` to what it holds now; empty for a stage without
        sources.
        """
        return load_function(self.sources)(config) if self.sources else {}


def load_function(path: str) -> Callable[..., Any]:
    """Import the function that a `module:function` string names."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
