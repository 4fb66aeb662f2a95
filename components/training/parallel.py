"""Plain data parallelism: each rank takes a slice of the batch, gradients are summed.

The sum is our own exchange of whole vectors in log2(world) rounds. Unlike the ring that comes with
the library it adds in the order of a binary tree, which is what makes two ranks equal to two
micro-batches, bit by bit. Left out: sharded optimizers and models that do not fit one rank.
"""

from __future__ import annotations

import torch
import torch.distributed as dist

from components.contract import BadInput, StageContext


def connect(context: StageContext) -> None:
    """Join the ranks of this step; does nothing for a single one or when it was done before.

    Address and port come from the environment, which the starter of the ranks sets.
    """
    if context.world_size > 1 and not dist.is_initialized():
        dist.init_process_group("gloo", rank=context.rank, world_size=context.world_size)


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
    here = vector if vector.device.type == "cpu" else vector.cpu()
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
    receiving = dist.irecv(theirs, src=partner)
    sending = dist.isend(mine, dst=partner)
    for pending in (receiving, sending):
        assert pending is not None, "this rank belongs to no group"
        pending.wait()


def broadcast_text(text: str, context: StageContext) -> str:
    """Return rank 0's text on every rank."""
    if context.world_size == 1:
        return text
    box: list[str] = [text]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def wait_for_all(context: StageContext) -> None:
    """Return once every rank has come here."""
    if context.world_size > 1:
        dist.barrier()
