from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from components.contract import BadInput, GuardStop, Resources, Stopped
from components.model.config import ModelConfig
from components.model.transformer import YoutuModel, initialize
from components.tracking.journal import read_journal
from components.training import loop
from components.training.loop import StepReport, Training, train
from components.training.loss import Batch, next_token_loss
from components.training.optimizer import OptimizerSettings
from components.training.parallel import rank_rows
from components.training.schedule import Schedule
from tests.components.training.sample_inputs import StopAfter, curve, make_context

SHAPE = ModelConfig(
    vocab_size=32, hidden=16, layers=2, heads=2, q_rank=8, kv_rank=8, nope_dim=4, rope_dim=4,
    v_dim=8, mlp=24, rope_base=1000.0, max_positions=32,
)  # fmt: skip


def ramps(step: int, rows: range) -> Batch:
    """Count upwards from a random start: learned within a few steps."""
    starts = [
        torch.randint(0, 32, (1,), generator=torch.Generator().manual_seed(step * 64 + row))
        for row in rows
    ]
    return Batch((torch.stack(starts) + torch.arange(17)) % 32)


def made(steps: int = 30, **changes: object) -> Training:
    model = YoutuModel(SHAPE)
    initialize(model, 0)
    training = Training(
        model=model,
        optimizer=OptimizerSettings(0.01, 0.02),
        schedule=Schedule(steps),
        batch=ramps,
        rows=lambda _step: 8,
        steps=steps,
    )
    return replace(training, **changes)  # type: ignore[arg-type]


def weights(training: Training) -> torch.Tensor:
    return torch.cat([parameter.flatten() for parameter in training.model.parameters()]).detach()


def poisoned(bad: set[int]) -> Callable[[YoutuModel, Batch], tuple[torch.Tensor, int]]:
    """Return a loss that is NaN at the given calls."""
    calls = iter(range(10**9))

    def loss(model: YoutuModel, batch: Batch) -> tuple[torch.Tensor, int]:
        value, count = next_token_loss(model, batch)
        return (value * float("nan") if next(calls) in bad else value), count

    return loss


def test_learns_and_reports_every_step(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    reports: list[StepReport] = []
    trained = train(made(60, after_step=(reports.append,)), context)
    losses = curve(context, "train/loss")
    assert losses[60] < 0.3 * losses[1]
    assert trained.tokens_seen == 60 * 8 * 16
    assert trained.final_loss == pytest.approx(sum(losses[at] for at in range(41, 61)) / 20)
    assert [report.step for report in reports] == list(range(1, 61))
    assert curve(context, "tokens")[60] == trained.tokens_seen
    assert curve(context, "train/learning_rate")[30] == 0.01
    assert curve(context, "perf/tokens_per_second")[60] > 0
    assert all(norm > 0 for norm in curve(context, "train/gradient_norm").values())
    last = [r for r in read_journal(context.journal.directory) if r["kind"] == "progress"][-1]
    assert (last["done"], last["total"]) == (60, 60)


def test_micro_batches_in_a_tree_change_nothing_but_rounding(tmp_path: Path) -> None:
    found: list[torch.Tensor] = []
    for size in (0, 2, 4):
        training = made(5)
        resources = Resources(threads=1, micro_batch=size)
        train(training, make_context(tmp_path / str(size), resources=resources))
        found.append(weights(training))
    for other in found[1:]:
        torch.testing.assert_close(found[0], other, rtol=1e-2, atol=1e-3)


def test_a_nan_batch_is_left_out_and_training_goes_on(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    training = made(40, loss=poisoned({11, 12}))
    trained = train(training, context)
    assert (trained.skipped_steps, trained.rollbacks) == (2, 0)
    assert torch.isfinite(weights(training)).all()
    assert curve(context, "train/loss")[40] < 1.5
    skipped = [r for r in read_journal(context.journal.directory) if r["kind"] == "event"]
    assert [record["step"] for record in skipped] == [12, 13]


def test_a_row_of_bad_steps_goes_back_to_the_anchor_and_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "ANCHOR_STEPS", 10)
    context = make_context(tmp_path)
    training = made(50, loss=poisoned(set(range(25, 33))))
    anchors: dict[int, torch.Tensor] = {}

    def remember(report: StepReport) -> None:
        if report.step in (20, 33):
            anchors[report.step] = weights(training)

    trained = train(replace(training, after_step=(remember,)), context)
    assert (trained.rollbacks, trained.skipped_steps, trained.steps) == (1, 8, 50)
    events = [r for r in read_journal(context.journal.directory) if r.get("name") == "rollback"]
    assert [(event["step"], event["to"]) for event in events] == [(33, 20)]
    assert not torch.equal(anchors[20], anchors[33])


def test_a_rollback_is_repeated_by_a_resumed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "ANCHOR_STEPS", 10)
    bad = set(range(25, 33))
    whole = made(50, loss=poisoned(bad))
    facts = train(whole, make_context(tmp_path / "whole"))
    for polls in (22, 28, 33, 40):
        stopped = make_context(tmp_path / f"s{polls}", stop_requested=StopAfter(polls))
        with pytest.raises(Stopped):
            train(made(50, loss=poisoned(bad)), stopped)
        shifted = {call - polls for call in bad}
        resumed = made(50, loss=poisoned(shifted))
        context = make_context(tmp_path / f"r{polls}", earlier=(stopped.resume,))
        assert train(resumed, context) == facts
        assert torch.equal(weights(resumed), weights(whole))


def test_gives_up_after_three_rollbacks(tmp_path: Path) -> None:
    with pytest.raises(GuardStop, match=r"after 3 rollbacks\. Lower sample\.learning_rate"):
        train(made(200, loss=poisoned(set(range(5, 200)))), make_context(tmp_path))


def test_resume_points_in_between_change_nothing(tmp_path: Path) -> None:
    plain = made(20)
    train(plain, make_context(tmp_path / "plain"))
    saving = made(20)
    often = Resources(threads=1, resume_seconds=0)
    context = make_context(tmp_path / "saving", resources=often)
    train(saving, context)
    assert torch.equal(weights(plain), weights(saving))
    kept = sorted(path.name for path in context.resume.iterdir())
    assert kept == ["step-00000000", "step-00000018", "step-00000019"]


def test_a_damaged_newest_point_costs_steps_and_nothing_else(tmp_path: Path) -> None:
    whole = made(20)
    facts = train(whole, make_context(tmp_path / "whole"))
    first = make_context(tmp_path / "1", stop_requested=StopAfter(6))
    with pytest.raises(Stopped):
        train(made(20), first)
    second = make_context(tmp_path / "2", earlier=(first.resume,), stop_requested=StopAfter(6))
    with pytest.raises(Stopped):
        train(made(20), second)
    tensors = second.resume / "step-00000012" / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    third = make_context(tmp_path / "3", earlier=(second.resume, first.resume))
    resumed = made(20)
    assert train(resumed, third) == facts
    assert next(iter(curve(third, "train/loss"))) == 7
    assert torch.equal(weights(resumed), weights(whole))
    assert (second.resume / "step-00000012.corrupt").is_dir()


def test_names_a_batch_that_ranks_cannot_share(tmp_path: Path) -> None:
    context = replace(make_context(tmp_path), rank=1, world_size=4)
    assert rank_rows(8, context) == range(2, 4)
    with pytest.raises(BadInput, match="6 sequences cannot be shared by 4 ranks"):
        rank_rows(6, context)


RANK = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from components.contract import Resources, Stopped
from components.execution.ranks import end_rank
from components.training.loop import prepare, train
from tests.components.training.sample_inputs import StopAfter, make_context
from tests.components.training.test_loop import made, weights, poisoned

rank, world, home, stop = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
resources = Resources(threads=1, micro_batch=2, processes=world)
context = make_context(home / f"{stop}-{rank}", resources=resources)
# Ranks share the attempt's resume directory; only rank 1 is asked to stop.
context = replace(context, rank=rank, world_size=world, resume=home / "resume")
if stop and rank == world - 1:
    context = replace(context, stop_requested=StopAfter(stop))
prepare(context)
# Step 4; calls are counted anew in the run that resumes at step 7.
bad = {16 // world} if rank == 0 and (stop or world == 1) else set()
training = made(12, loss=poisoned(bad))
try:
    train(training, context)
except Stopped:
    end_rank(143)
torch.save(weights(training), home / f"weights-{rank}.pt")
end_rank(0)
"""


def run_ranks(world: int, home: Path, stop: int = 0) -> list[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(world), str(home), str(stop)],
            env=environment,
        )
        for rank in range(world)
    ]
    return [rank.wait(timeout=120) for rank in ranks]


@pytest.mark.slow
def test_two_ranks_equal_one_process_bit_by_bit(tmp_path: Path) -> None:
    """Equal micro-batches, one of them poisoned on rank 0, and a stop that only rank 1 sees."""
    for world, stops in ((1, (0,)), (2, (7, 0))):
        home = tmp_path / str(world)
        home.mkdir()
        for stop in stops:
            codes = run_ranks(world, home, stop)
            assert codes == [143 if stop else 0] * world
    one = torch.load(tmp_path / "1" / "weights-0.pt")
    for rank in (0, 1):
        assert torch.equal(one, torch.load(tmp_path / "2" / f"weights-{rank}.pt"))
