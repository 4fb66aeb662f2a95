"""R12: single bits flip in one rank's weights, and in the data a training reads.

Half of the flips hit weights that lie in memory between two updates, half come out of an update.
Three ranks train; who is named must be the one that was hit.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from components.artifacts.local_store import LocalStore
from components.contract import StageContext
from components.execution.exit_codes import ExitCode
from components.model.transformer import YoutuModel, initialize
from components.training import engine
from components.training.corruption import WeightsChanged
from components.training.loop import StepReport, Training, train
from components.training.optimizer import Optimizer, OptimizerSettings
from components.training.schedule import Schedule
from tests.faults.attempts import carry_out, store_of
from tests.faults.bad_batches import Batches, Course
from tests.faults.figure import Figure
from tests.faults.ranks import SHAPE, context_of, on_ranks
from tests.faults.training import Trainer

RANKS = 3
STEPS = 500
"""Within so many steps a flip must be found."""


@dataclass(frozen=True)
class Flip:
    """Say where a bit flips: after which step, on which rank, in which weight, which bit."""

    step: int
    rank: int
    place: float
    """Share of the parameters before it."""
    bit: int
    updating: bool
    """Whether an update writes it wrongly, instead of memory losing it."""


def measure(n: int, seed: int, place: Path) -> Figure:
    """Flip `n` bits in weights, one a training, and as many in shards."""
    draws = random.Random(seed)
    flips = [
        Flip(draws.randrange(1, 20), draws.randrange(RANKS), draws.random(), draws.randrange(32),
             number % 2 == 1)
        for number in range(n)
    ]  # fmt: skip
    found = on_ranks(RANKS, train_all, place / "ranks", flips)
    alike = all(each == found[0] for each in found)
    said = list(zip(flips, found[0]["trainings"], strict=True))
    caught = sum(step >= 0 for _, (step, _) in said)
    named = sum(f"of rank {flip.rank} " in words for flip, (_, words) in said)
    latest = max((step - flip.step for flip, (step, _) in said if step >= 0), default=-1)
    shards = sum(finds_flipped_shard(trainer, draws) for trainer in [Trainer(place, 1)] * n)
    return Figure(
        row="R12",
        goal="single bit flips in one rank's weights: ≥ 99 % found within 500 steps, rank named; "
        "a flipped data shard always found",
        n=n,
        figure=f"{caught} of {n} found, at most {latest} steps later, {named} named, "
        f"{'all ranks alike' if alike else 'ranks differ'}; {shards} of {n} flipped shards found",
        holds=min(caught, named) >= 0.99 * n and latest <= STEPS and alike and shards == n,
    )


def train_all(place: Path, context: StageContext, flips: list[Flip]) -> dict[str, Any]:
    """Train once for each flip; return the steps done when it was found (-1: never) and what was
    said.
    """
    found = [one_training(place / str(number), context, f) for number, f in enumerate(flips)]
    return {"trainings": found}


def one_training(place: Path, context: StageContext, flip: Flip) -> tuple[int, str]:
    """Train until the flip is found, for 500 steps behind it at most."""
    model = YoutuModel(SHAPE)
    initialize(model, 0)
    hit = flip.rank == context.rank
    done = [0]

    def after_step(report: StepReport) -> None:
        done[0] = report.step
        if hit and not flip.updating and report.step == flip.step:
            flip_bit(model, flip)

    training = Training(
        model=model,
        optimizer=OptimizerSettings(0.01, 0.02),
        schedule=Schedule(STEPS),
        batch=Batches(Course({}, 0), context.rank),
        rows=lambda _step: RANKS,
        steps=flip.step + STEPS,
        after_step=(after_step,),
    )
    Careless.flip = flip if hit and flip.updating else None
    engine.Optimizer = Careless  # this process trains for this test alone
    try:
        train(training, context_of(place, context.rank, RANKS))
    except WeightsChanged as error:
        return done[0], str(error)
    return -1, ""


class Careless(Optimizer):
    """Write one wrong bit in one update, where it is told to."""

    flip: Flip | None = None
    updates = 0

    def __init__(self, model: YoutuModel, settings: OptimizerSettings) -> None:
        super().__init__(model, settings)
        self.model = model

    def step(self, factor: float = 1.0) -> None:
        super().step(factor)
        self.updates += 1
        if self.flip is not None and self.updates == self.flip.step:
            flip_bit(self.model, self.flip)


def flip_bit(model: YoutuModel, flip: Flip) -> None:
    """Flip one bit of one weight."""
    weights = [parameter.detach().view(-1) for parameter in model.parameters()]
    at = int(flip.place * sum(map(len, weights)))
    for weight in weights:
        if at < len(weight):
            weight.view(torch.int32)[at] ^= -(1 << 31) if flip.bit == 31 else 1 << flip.bit
            return
        at -= len(weight)


def finds_flipped_shard(trainer: Trainer, draws: random.Random) -> bool:
    """Flip a bit of the shards in the store; tell whether the next attempt refuses them."""
    request = trainer.ask(resume_seconds=60)
    store = store_of(trainer.home)
    manifest = store.manifest("shards", "0" * 64)
    assert manifest is not None
    victim = store.files(manifest) / draws.choice([f.path for f in manifest.files if f.bytes])
    sound = victim.read_bytes()
    content = bytearray(sound)
    bit = draws.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    victim.write_bytes(content)
    code = carry_out(request)
    cause = str(
        (store.attempt(request.stage, request.key, request.attempt).record("result") or {}).get(
            "cause"
        )
    )
    victim.write_bytes(sound)
    if store.manifest("shards", "0" * 64) is None:  # it was condemned
        assert isinstance(store.objects, LocalStore)
        store.commit(manifest)
    return code == ExitCode.NOT_FOUND and "is damaged" in cause
