"""Stage `pretrain`: next-token prediction on a mixture of text.

One stage serves the three phases of the paper; they differ in mixture, rates and context. Each
starts a fresh optimizer, so that a phase depends on its checkpoint and nothing else.
"""

from __future__ import annotations

import numpy as np
import torch

from components.contract import BadInput, StageContext
from components.pretraining.config import PretrainConfig, PretrainFacts, PretrainInputs
from components.pretraining.course import Course, course
from components.shards.loader import Shards, open_shards
from components.training.heldout import HeldoutScores, journal_scores
from components.training.lineage import (
    Start,
    check_shards,
    data_seed,
    fresh_start,
    optimizer_settings,
    save_trained,
    schedule_of,
    shared_facts,
    start_from,
)
from components.training.loop import BatchSource, Training, prepare, train
from components.training.loss import Batch, document_batch


def run(config: PretrainConfig, inputs: PretrainInputs, context: StageContext) -> PretrainFacts:
    """Write the checkpoint of a phase; raises BadInput where inputs do not belong together."""
    start = _start(config, inputs, context)
    shards = open_shards(inputs.shards.path)
    check_shards(shards, start, context.step)
    seed = data_seed(config, start)
    plan = course(config, seed)
    heldout = HeldoutScores(
        start.model,
        shards,
        bos=start.tokenizer.bos,
        length=plan.segments[-1].length,
        tokens=config.heldout_tokens,
    )
    training = Training(
        model=start.model,
        optimizer=optimizer_settings(config),
        schedule=schedule_of(config, plan.steps),
        batch=text_batches(shards, plan, config.mixture, bos=start.tokenizer.bos),
        rows=lambda step: plan.at(step).rows,
        steps=plan.steps,
        gradient_clip=config.gradient_clip,
        after_step=(heldout.during(context, config.heldout_evaluations),),
    )
    trained = train(training, context)
    scores = heldout.scores() if context.rank == 0 else {}
    journal_scores(context, trained.steps, scores)
    save_trained(start, trained, context)
    return PretrainFacts(**shared_facts(start, trained, seed), bits_per_byte=scores)


def text_batches(
    shards: Shards, plan: Course, mixture: dict[str, float], *, bos: int
) -> BatchSource:
    """Return the batches of a phase: sequence p of a segment is a pure function of (seed, p)."""

    def batch(step: int, rows: range) -> Batch:
        segment = plan.at(step)
        first = (step - segment.first_step) * segment.rows
        sequences = [
            shards.sequence(first + row, seed=segment.seed, length=segment.length, mixture=mixture)
            for row in rows
        ]
        return document_batch(torch.from_numpy(np.stack(sequences)), bos=bos)

    return batch


def _start(config: PretrainConfig, inputs: PretrainInputs, context: StageContext) -> Start:
    device = prepare(context)
    if inputs.initial is None:
        return fresh_start(
            config.model, inputs.tokenizer, seed=config.seed, device=device, step=context.step
        )
    start = start_from(inputs.initial, inputs.tokenizer, device=device)
    ours, theirs = config.model.model_dump(), start.model.config.model_dump()
    # A checkpoint states its initial spread; it says nothing about the shape.
    different = [name for name in ours if name != "init_std" and ours[name] != theirs[name]]
    if different:
        name = different[0]
        raise BadInput(
            f"step {context.step}: model.{name} is {ours[name]}, but the checkpoint of step "
            f"{inputs.initial.step} has {theirs[name]}; give all phases one model"
        )
    return start
