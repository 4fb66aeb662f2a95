"""Stage `sft`: supervised fine-tuning; loss falls on the assistant's tokens only."""

from __future__ import annotations

import math

import torch

from components.contract import BadInput, StageContext
from components.sft.config import SftConfig, SftFacts, SftInputs
from components.training.conversations import read_conversations
from components.training.lineage import (
    Start,
    check_length,
    data_seed,
    optimizer_settings,
    save_trained,
    schedule_of,
    shared_facts,
    start_from,
)
from components.training.loop import BatchSource, Training, prepare, train
from components.training.loss import Batch, document_batch
from components.training.packing import EpochOrder, Packed, pack
from components.training.seeds import derived_seed


def run(config: SftConfig, inputs: SftInputs, context: StageContext) -> SftFacts:
    """Write the checkpoint; raises BadInput where no conversation fits a sequence."""
    start = start_from(inputs.initial, inputs.tokenizer, device=prepare(context))
    check_length(config.sequence_length, start, context.step)
    seed = data_seed(config, start)
    packed = _packed(config, inputs, start, seed, context)
    rows = config.batch_tokens // config.sequence_length
    steps = max(1, math.ceil(config.epochs * len(packed.ids_PS) / rows))
    training = Training(
        model=start.model,
        optimizer=optimizer_settings(config),
        schedule=schedule_of(config, steps),
        batch=conversation_batches(
            packed, rows, bos=start.tokenizer.bos, seed=derived_seed(seed, "conversations")
        ),
        rows=lambda _step: rows,
        steps=steps,
        gradient_clip=config.gradient_clip,
    )
    trained = train(training, context)
    save_trained(start, trained, context)
    return SftFacts(
        **shared_facts(start, trained, seed),
        conversations=packed.examples,
        conversations_too_long=packed.too_long,
        loss_tokens=packed.loss_tokens,
    )


def conversation_batches(packed: Packed, rows_a_step: int, *, bos: int, seed: int) -> BatchSource:
    """Return the batches: step s takes positions [s rows, (s + 1) rows) of reshuffled passes."""
    order = EpochOrder(len(packed.ids_PS), seed)

    def batch(step: int, rows: range) -> Batch:
        chosen = [order.at(step * rows_a_step + row) for row in rows]
        ids_BS, mask_BT = packed.ids_PS[chosen], packed.mask_PT[chosen]
        return document_batch(torch.from_numpy(ids_BS), torch.from_numpy(mask_BT), bos=bos)

    return batch


def _packed(
    config: SftConfig, inputs: SftInputs, start: Start, seed: int, context: StageContext
) -> Packed:
    examples = read_conversations(inputs.trajectories.split("sft"), start.tokenizer)
    packed = pack(examples, config.sequence_length + 1, padding=start.tokenizer.eos, seed=seed)
    if not packed.examples:
        shortest = min(len(ids) for ids, _ in examples)
        raise BadInput(
            f"step {context.step}: no conversation fits {config.sequence_length} tokens, the "
            f"shortest has {shortest}; raise {context.step}.sequence_length"
        )
    if packed.too_long:
        context.journal.event("conversations left out", too_long=packed.too_long)
    return packed
