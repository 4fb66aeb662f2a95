"""Stage `agentic_midtrain`: trajectories mixed with text, after the long-context phase.

About 60 % of the sequences are trajectories (paper, section 4); text goes on beside them so that
less of it is forgotten, and held-out text is scored to report what is.
"""

from __future__ import annotations

import math

from components.agentic_midtraining.config import (
    AgenticMidtrainConfig,
    AgenticMidtrainFacts,
    AgenticMidtrainInputs,
)
from components.agentic_midtraining.mask import MixedSequences, trajectories_before
from components.contract import BadInput, StageContext
from components.shards.loader import open_shards
from components.training.conversations import read_conversations
from components.training.heldout import HeldoutScores, journal_scores
from components.training.lineage import (
    Start,
    check_length,
    check_shards,
    data_seed,
    optimizer_settings,
    save_trained,
    schedule_of,
    shared_facts,
    start_from,
)
from components.training.loop import Training, prepare, train
from components.training.packing import Packed, pack


def run(
    config: AgenticMidtrainConfig, inputs: AgenticMidtrainInputs, context: StageContext
) -> AgenticMidtrainFacts:
    """Write the checkpoint; raises BadInput where no trajectory fits a sequence."""
    start = start_from(inputs.initial, inputs.tokenizer, device=prepare(context))
    check_length(config.sequence_length, start, context.step)
    seed = data_seed(config, start)
    shards = open_shards(inputs.shards.path)
    check_shards(shards, start, context.step)
    packed = _packed(config, inputs, start, seed, context)
    sequences = MixedSequences(
        packed, shards, share=config.trajectory_share, mixture=config.mixture, seed=seed
    )
    heldout = HeldoutScores(
        start.model,
        shards,
        bos=start.tokenizer.bos,
        length=config.sequence_length,
        tokens=config.heldout_tokens,
    )
    rows = config.batch_tokens // config.sequence_length
    steps = math.ceil(config.tokens / config.batch_tokens)
    training = Training(
        model=start.model,
        optimizer=optimizer_settings(config),
        schedule=schedule_of(config, steps),
        batch=sequences.batches(rows, bos=start.tokenizer.bos),
        rows=lambda _step: rows,
        steps=steps,
        gradient_clip=config.gradient_clip,
        after_step=(heldout.during(context, config.heldout_evaluations),),
    )
    trained = train(training, context)
    scores = heldout.scores() if context.rank == 0 else {}
    journal_scores(context, trained.steps, scores)
    save_trained(start, trained, context)
    used = trajectories_before(steps * rows, config.trajectory_share)
    return AgenticMidtrainFacts(
        **shared_facts(start, trained, seed),
        bits_per_byte=scores,
        trajectories=packed.examples,
        trajectories_too_long=packed.too_long,
        trajectory_epochs=used / len(packed.ids_PS),
        padding_share=packed.padding_share,
        loss_share=packed.loss_tokens / packed.tokens,
    )


def _packed(
    config: AgenticMidtrainConfig,
    inputs: AgenticMidtrainInputs,
    start: Start,
    seed: int,
    context: StageContext,
) -> Packed:
    examples = read_conversations(inputs.trajectories.split("midtrain"), start.tokenizer)
    packed = pack(examples, config.sequence_length + 1, padding=start.tokenizer.eos, seed=seed)
    if not packed.examples:
        shortest = min(len(ids) for ids, _ in examples)
        raise BadInput(
            f"step {context.step}: no trajectory fits {config.sequence_length} tokens, the "
            f"shortest has {shortest}; raise {context.step}.sequence_length"
        )
    if packed.too_long:
        context.journal.event("trajectories left out", too_long=packed.too_long)
    return packed
