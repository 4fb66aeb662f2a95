"""R9: two attempts at one artifact live at the same time, on purpose, and both go to its end.

Two processes take the two attempts of one race after the other and meet at a barrier before each.
Every file says which attempt wrote it, so a mixture would show.
"""

from __future__ import annotations

import random
from multiprocessing.synchronize import Barrier
from pathlib import Path

from components.execution.request import StageRequest
from tests.faults.attempts import ask, carry_out, store_of
from tests.faults.figure import Figure
from tests.faults.forks import CONTEXT, fork
from tests.faults.stages import PARTS, SIGN, TABLE, SignConfig

LONGEST_SECONDS = 0.004
"""A stage this short leaves the order of the two commits to chance."""


def measure(n: int, seed: int, home: Path) -> Figure:
    """Let two attempts race `n` times."""
    draws = random.Random(seed)
    pairs: list[tuple[StageRequest, StageRequest]] = []
    for race in range(n):
        config = SignConfig(race=race, seconds=draws.uniform(0.0, LONGEST_SECONDS))
        first, second = (ask(home, SIGN, config, TABLE) for _ in range(2))
        pairs.append((first, second))
    barrier = CONTEXT.Barrier(2, timeout=60)
    racers = [fork(carry_out_all, [pair[side] for pair in pairs], barrier) for side in (0, 1)]
    for racer in racers:
        racer.join()
    failed = sum(racer.exitcode or 0 for racer in racers)
    mixed = sum(not whole(home, pair[0]) for pair in pairs)
    won = sum(winner(home, pair[0]) == 2 for pair in pairs)
    return Figure(
        row="R9",
        goal="two live attempts at one artifact: one manifest, never files of two attempts",
        n=n,
        figure=f"{mixed} artifacts mixed, torn or missing, {failed} attempts failed "
        f"(the newer one won {won}, the older {n - won})",
        holds=mixed == 0 and failed == 0,
    )


def carry_out_all(requests: list[StageRequest], barrier: Barrier) -> int:
    """Carry one side's attempts out, each together with the other side's; count the failures."""
    failed = 0
    for request in requests:
        barrier.wait()
        failed += carry_out(request) not in {0, 143}
    return min(failed, 100)


def winner(home: Path, request: StageRequest) -> int:
    """Return the attempt that the manifest adopted; 0 without one."""
    manifest = store_of(home).manifest(request.stage, request.key)
    return manifest.attempt if manifest else 0


def whole(home: Path, request: StageRequest) -> bool:
    """Tell whether there is an artifact, all of one attempt, and nothing of another one."""
    store = store_of(home)
    manifest = store.manifest(request.stage, request.key)
    if manifest is None or store.damaged(manifest):
        return False
    files = store.files(manifest)
    signed = {(files / f"part-{part}").read_text() for part in range(PARTS)}
    left = [
        attempt.number
        for attempt in store.attempts(request.stage, request.key)
        if attempt.number != manifest.attempt and attempt.files.is_dir()
        if any(attempt.files.iterdir())
    ]
    return signed == {str(manifest.attempt)} and left == []
