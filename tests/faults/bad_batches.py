"""R11: NaN, infinite and spiking batches are put into one rank's share of a two-rank training.

NaN and infinity come out of the loss function that one rank is given, a spike out of its batches:
tokens at random where the others mostly count upwards. The guard is the real one and sees the sum
over ranks. Another training gets bad batches without end: it must go back three times and then end
with exit code 4.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from components.contract import GuardStop, StageContext
from components.execution.exit_codes import exit_code
from components.model.transformer import YoutuModel, initialize
from components.tracking.journal import read_journal
from components.training.loop import Training, train
from components.training.loss import Batch, next_token_loss
from components.training.optimizer import OptimizerSettings
from components.training.schedule import Schedule
from tests.faults.figure import Figure
from tests.faults.ranks import SHAPE, on_ranks

RANKS, ROWS = 2, 64
STEPS = 601
"""One more than a multiple of the steps between anchors: the last anchor shows the window."""
FIRST_SPIKE = 200
"""Before this step the loss still falls so fast that nothing counts as a spike."""
BAD_FOR_EVER = 250
Kind = Literal["nan", "inf", "spike"]


@dataclass(frozen=True)
class Course:
    """Say which steps of which rank are bad, and how."""

    bad: dict[int, Kind]
    rank: int
    steps: int = STEPS


def measure(n: int, seed: int, place: Path) -> Figure:
    """Inject `n` bad batches, and in another training bad batches without end."""
    draws = random.Random(seed)
    bad = draw(n, draws)
    clean = trained(place / "clean", Course({}, 0))
    faulty = trained(place / "faulty", Course(bad, draws.randrange(RANKS)))
    endless: dict[int, Kind] = dict.fromkeys(range(BAD_FOR_EVER, 10 * STEPS), "nan")
    hopeless = trained(place / "hopeless", Course(endless, draws.randrange(RANKS), 10 * STEPS))
    wrong = [sorted(set(result["left_out"]) ^ set(bad)) for result in faulty]
    apart = sum(result["weights"] != faulty[0]["weights"] for result in faulty)
    tainted = sum(not is_clean(result["windows"]) for result in faulty)
    off = abs(faulty[0]["loss"] / clean[0]["loss"] - 1)
    gave_up = [(result["code"], result["rollbacks"]) for result in hopeless]
    return Figure(
        row="R11",
        goal="bad batches skipped on all ranks, none in the window, final loss within 0.5 %; at "
        "most 3 rollbacks, then exit 4",
        n=n,
        figure=f"{sum(map(len, wrong))} steps skipped or kept wrongly, {apart} ranks apart, "
        f"{tainted} windows tainted, final loss {100 * off:.2f} % off; without end: "
        f"{gave_up[0][1]} rollbacks, exit codes {[code for code, _ in gave_up]}",
        holds=not any(wrong)
        and apart == tainted == 0
        and off < 0.005
        and gave_up == [(4, 3)] * RANKS,
    )


def draw(n: int, draws: random.Random) -> dict[int, Kind]:
    """Spread `n` bad steps; never so many in a row that training goes back."""
    steps = sorted(draws.sample(range(5, STEPS - 100, 3), n))
    kinds: tuple[Kind, ...] = ("nan", "inf", "spike")
    return {step: draws.choice(kinds if step >= FIRST_SPIKE else kinds[:2]) for step in steps}


def is_clean(windows: list[list[float]]) -> bool:
    """Tell whether the saved windows hold ordinary losses only: below those of a uniform guess."""
    return len(windows) > 0 and all(loss < 3.5 for window in windows for loss in window)


def trained(place: Path, course: Course) -> list[dict[str, Any]]:
    """Train on all ranks; return what each of them found."""
    return on_ranks(RANKS, one_rank, place, course)


def one_rank(place: Path, context: StageContext, course: Course) -> dict[str, Any]:
    """Train as one rank; return what was found."""
    model = YoutuModel(SHAPE)
    initialize(model, 0)
    training = Training(
        model=model,
        optimizer=OptimizerSettings(0.01, 0.02),
        schedule=Schedule(course.steps),
        batch=Batches(course, context.rank),
        rows=lambda _step: ROWS,
        steps=course.steps,
        loss=Losses(course, context.rank),
    )
    code, loss = 0, 0.0
    try:
        loss = train(training, context).final_loss
    except GuardStop as error:
        code = int(exit_code(error))
    context.journal.close()
    events = [r for r in read_journal(context.journal.directory) if r["kind"] == "event"]
    values = [json.loads(p.read_text()) for p in context.resume.glob("step-*/values.json")]
    flat = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    return {
        "code": code,
        "loss": loss,
        "left_out": [e["step"] - 1 for e in events if e["name"] == "update left out"],
        "rollbacks": sum(e["name"] == "rollback" for e in events),
        "windows": [value["guard"]["losses"] for value in values],
        "weights": flat.double().sum().item(),
    }


class Batches:
    """Count upwards, but for one token in ten that is drawn; all are in a spike.

    What is drawn cannot be learned, so that the loss has a floor well above zero.
    """

    def __init__(self, course: Course, rank: int) -> None:
        spikes = {step for step, kind in course.bad.items() if kind == "spike"}
        self.spikes = spikes if rank == course.rank else set[int]()

    def __call__(self, step: int, rows: range) -> Batch:
        share = 1.0 if step in self.spikes else 0.1
        return Batch(torch.stack([sequence(step * 64 + row, share) for row in rows]))


def sequence(seed: int, share: float) -> torch.Tensor:
    """Return 17 tokens: each is the next number, or with this share a number drawn."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, 32, (17,), generator=generator)
    drawn[1:] = torch.where(torch.rand(16, generator=generator) < share, drawn[1:], 1)
    return drawn.cumsum(0) % 32


class Losses:
    """Make the loss of the bad steps NaN or infinite; called once a step."""

    def __init__(self, course: Course, rank: int) -> None:
        factors = {"nan": float("nan"), "inf": float("inf")}
        self.factors = {s: factors[kind] for s, kind in course.bad.items() if kind in factors}
        self.factors = self.factors if rank == course.rank else {}
        self.step = 0

    def __call__(self, model: YoutuModel, batch: Batch) -> tuple[torch.Tensor, int]:
        loss, count = next_token_loss(model, batch)
        factor = self.factors.get(self.step, 1.0)
        self.step += 1
        return loss * factor, count
