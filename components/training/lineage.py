"""Where weights come from and where they go: opening a checkpoint to train on, and saving one.

A model and a tokenizer belong together: ids of another vocabulary would train to nonsense without
an error, so the contract digests are compared before the first step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from components.artifacts.types import Checkpoint, Tokenizer
from components.contract import BadInput, StageContext
from components.model.config import ModelConfig
from components.model.transformer import YoutuModel, initialize
from components.model.weights import load_model, read_strata, save_checkpoint
from components.shards.loader import Shards
from components.tokenizer.contract import TextTokenizer, load_tokenizer
from components.training.config import TrainingConfig
from components.training.loop import Trained
from components.training.optimizer import OptimizerSettings
from components.training.schedule import Schedule
from components.training.seeds import derived_seed


@dataclass(frozen=True)
class Start:
    """Hold the weights a stage begins with, and what they went through before."""

    model: YoutuModel
    tokenizer: TextTokenizer
    tokens: int = 0
    steps: int = 0


def fresh_start(
    shape: ModelConfig, tokenizer: Tokenizer, *, seed: int, device: torch.device, step: str
) -> Start:
    """Make new weights; raises BadInput where the model's vocabulary is not the tokenizer's."""
    opened = load_tokenizer(tokenizer.path)
    if shape.vocab_size != opened.vocab_size:
        raise BadInput(
            f"step {step}: the model has vocab_size {shape.vocab_size}, the tokenizer has "
            f"{opened.vocab_size} tokens; set {step}.model.vocab_size={opened.vocab_size}"
        )
    with torch.device("meta"):
        model = YoutuModel(shape)
    model.to_empty(device=device)
    initialize(model, derived_seed(seed, "weights"))
    return Start(model, opened)


def start_from(initial: Checkpoint, tokenizer: Tokenizer, *, device: torch.device) -> Start:
    """Open a checkpoint; raises BadInput where it was trained with another tokenizer."""
    opened = load_tokenizer(tokenizer.path)
    lineage = read_strata(initial.path)
    if lineage["tokenizer_digest"] != opened.digest:
        raise BadInput(
            f"the checkpoint of step {initial.step} was trained with tokenizer "
            f"{lineage['tokenizer_digest'][:12]}, but {opened.digest[:12]} was given; "
            "give the tokenizer of its own run, or train again from the first phase"
        )
    model = load_model(initial.path, device=device)
    return Start(model, opened, lineage["tokens_seen"], lineage["steps"])


def check_length(length: int, start: Start, step: str) -> None:
    """Raise BadInput where sequences are longer than the model's positions."""
    most = start.model.config.max_positions
    if length > most:
        raise BadInput(
            f"step {step}: sequences of {length} tokens, but the model has {most} positions; "
            f"set {step}.sequence_length to {most} or less"
        )


def check_shards(shards: Shards, start: Start, step: str) -> None:
    """Raise BadInput where text was tokenized by another tokenizer."""
    if shards.tokenizer_digest != start.tokenizer.digest:
        raise BadInput(
            f"step {step}: the shards were made with tokenizer {shards.tokenizer_digest[:12]}, but "
            f"{start.tokenizer.digest[:12]} was given; make the shards again"
        )


def data_seed(config: TrainingConfig, start: Start) -> int:
    """Return the seed of a stage's data: each stage of a run reads the text in another order."""
    return derived_seed(config.seed, "data", start.steps)


def optimizer_settings(config: TrainingConfig) -> OptimizerSettings:
    """Return the optimizers that a configuration asks for."""
    return OptimizerSettings(
        learning_rate=config.learning_rate,
        matrix_learning_rate=config.matrix_learning_rate,
        weight_decay=config.weight_decay,
    )


def schedule_of(config: TrainingConfig, steps: int) -> Schedule:
    """Return the course of the learning rates that a configuration asks for."""
    return Schedule(steps, warmup=config.warmup, decay=config.decay, floor=config.floor)


def save_trained(start: Start, trained: Trained, context: StageContext) -> None:
    """Write the checkpoint of a stage that is done; rank 0 does it for all."""
    if context.rank == 0:
        save_checkpoint(
            start.model,
            context.out,
            tokenizer_digest=start.tokenizer.digest,
            tokens_seen=start.tokens + trained.tokens_seen,
            steps=start.steps + trained.steps,
        )


def shared_facts(start: Start, trained: Trained, seed: int) -> dict[str, Any]:
    """Return the fields of `TrainingFacts`; `seed` is the one of the data."""
    return {
        "steps": trained.steps,
        "tokens_seen": trained.tokens_seen,
        "total_tokens": start.tokens + trained.tokens_seen,
        "final_loss": trained.final_loss,
        "skipped_steps": trained.skipped_steps,
        "rollbacks": trained.rollbacks,
        "parameters": start.model.config.parameters,
        "data_seed": seed,
    }
