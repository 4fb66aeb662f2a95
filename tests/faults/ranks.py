"""Several ranks of one training, forked from a warm process."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.contract import Resources, StageContext
from components.execution.execute import StopSignal
from components.model.config import ModelConfig
from components.tracking.journal import Journal
from components.training.loop import prepare
from tests.faults.forks import fork

SHAPE = ModelConfig(
    vocab_size=32, hidden=16, layers=1, heads=2, q_rank=8, kv_rank=8, nope_dim=4, rope_dim=4,
    v_dim=8, mlp=24, rope_base=1000.0, max_positions=32,
)  # fmt: skip
"""A model whose step takes about two milliseconds."""
RankFunction = Callable[[Path, StageContext, Any], dict[str, Any]]
"""What a rank does in a directory, given its context; returns what it found, as JSON values."""


def on_ranks(world: int, function: RankFunction, place: Path, what: Any) -> list[dict[str, Any]]:
    """Call a function of a module on several connected ranks; return what each of them found."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = [fork(_one, function, place, what, rank, world, port) for rank in range(world)]
    for rank in ranks:
        rank.join()
        assert rank.exitcode == 0, f"{place.name}: a rank ended with {rank.exitcode}"
    return [json.loads((place / f"rank-{rank}.json").read_text()) for rank in range(world)]


def context_of(place: Path, rank: int, world: int) -> StageContext:
    """Return the context of one rank; resume points are written at anchors alone."""
    return StageContext(
        out=place,
        resume=place / "resume",
        earlier_resumes=(),
        scratch=place,
        journal=Journal(place / f"journal-{rank}"),
        resources=Resources(threads=1, processes=world, resume_seconds=1e6),
        step="sample",
        rank=rank,
        world_size=world,
        stop_requested=StopSignal(),
    )


def _one(function: RankFunction, place: Path, what: Any, rank: int, world: int, port: int) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    context = context_of(place, rank, world)
    prepare(context)
    found = function(place, context, what)
    (place / f"rank-{rank}.json").write_text(json.dumps(found))
