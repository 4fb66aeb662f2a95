"""What ranks say to each other: joining, slices of a batch, sums, and what rank 0 tells the others.

The sum is our own exchange of whole vectors in log2(world) rounds. Unlike the ring that comes with
the library it adds in the order of a binary tree, which is what makes two ranks equal to two
micro-batches, bit by bit. Only rank 0 reads and writes resume points; the others get them from it,
so that ranks on another machine need no directory in common with it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from components.contract import BadInput, Resources, StageContext, TryAgain


def backend_of(resources: Resources) -> str:
    """Return what the ranks talk through."""
    if resources.backend != "auto":
        return resources.backend
    return "nccl" if resources.device == "cuda" else "gloo"


def connect(context: StageContext) -> None:
    """Join the ranks of this step; does nothing for a single one or when it was done before.

    Address and port come from the environment, which the starter of the ranks sets.
    """
    if context.world_size > 1 and not dist.is_initialized():
        with peers_may_go(context):
            dist.init_process_group(
                backend_of(context.resources), rank=context.rank, world_size=context.world_size
            )


@contextmanager
def peers_may_go(context: StageContext) -> Generator[None]:
    """Raise TryAgain (exit 75) where the body fails because another rank is gone.

    That rank has an exit code of its own, which tells the cause; 75 says that this one had none.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        what = str(error).splitlines()[0]
        raise TryAgain(
            f"step {context.step}: rank {context.rank} lost touch with the other ranks; one of "
            f"them tells the cause ({what})"
        ) from error


def rank_rows(rows: int, context: StageContext) -> range:
    """Return the sequences of a batch that this rank takes.

    Raises BadInput where they cannot be shared evenly.
    """
    if rows % context.world_size:
        raise BadInput(
            f"step {context.step}: a batch of {rows} sequences cannot be shared by "
            f"{context.world_size} ranks; change resources.{context.step}.processes "
            f"or {context.step}.batch_tokens"
        )
    share = rows // context.world_size
    return range(context.rank * share, (context.rank + 1) * share)


def sum_over_ranks(vector: torch.Tensor, context: StageContext) -> None:
    """Replace `vector` by its sum over all ranks, equal in every bit on each of them."""
    world = context.world_size
    if world == 1:
        return
    here = vector.to(_wire(context))
    if world & (world - 1):
        parts = [torch.empty_like(here) for _ in range(world)]
        dist.all_gather(parts, here)
        here.zero_()
        for part in parts:
            here += part
    else:
        there = torch.empty_like(here)
        distance = 1
        while distance < world:
            _exchange(here, there, context.rank ^ distance)
            here += there
            distance *= 2
    if here is not vector:
        vector.copy_(here)


def _exchange(mine: torch.Tensor, theirs: torch.Tensor, partner: int) -> None:
    both = [dist.P2POp(dist.irecv, theirs, partner), dist.P2POp(dist.isend, mine, partner)]
    for pending in dist.batch_isend_irecv(both):
        pending.wait()


def from_each_rank(vector: torch.Tensor, context: StageContext) -> list[torch.Tensor]:
    """Return equally long vectors of all ranks, in their order, on every rank."""
    if context.world_size == 1:
        return [vector]
    here = vector.to(_wire(context))
    parts = [torch.empty_like(here) for _ in range(context.world_size)]
    dist.all_gather(parts, here)
    return [part.to(vector.device) for part in parts]


def from_first_rank(value: Any, context: StageContext) -> Any:
    """Return rank 0's value, something small, on every rank."""
    if context.world_size == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def tensors_from_first_rank(
    tensors: Mapping[str, torch.Tensor], context: StageContext
) -> dict[str, torch.Tensor]:
    """Return rank 0's tensors on every rank, one after the other; they stay in host memory."""
    if context.world_size == 1:
        return dict(tensors)
    shapes: dict[str, tuple[torch.Size, torch.dtype]] = from_first_rank(
        {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}, context
    )
    received: dict[str, torch.Tensor] = {}
    for name, (shape, dtype) in shapes.items():
        here = tensors[name] if context.rank == 0 else torch.empty(shape, dtype=dtype)
        passed = here.to(_wire(context))
        dist.broadcast(passed, src=0)
        received[name] = passed.cpu()
    return received


def wait_for_all(context: StageContext) -> None:
    """Return once every rank has come here."""
    if context.world_size > 1:
        dist.barrier()


def _wire(context: StageContext) -> str:
    """Return the device that tensors travel from: nccl reads GPUs only, gloo CPUs."""
    return "cuda" if backend_of(context.resources) == "nccl" else "cpu"
