"""Stage `export`: turn a checkpoint into a folder that others can load, and certify it.

The release is refused when `transformers` computes other logits from it than our own model does, or
when its chat template yields other token ids than training used.
"""

from __future__ import annotations

import torch

from components.artifacts.types import Artifact
from components.contract import BadInput, StageContext
from components.export.certificate import certificate, write_certificate
from components.export.config import ExportConfig, ExportFacts, ExportInputs
from components.export.huggingface import (
    TOLERANCE,
    WEIGHTS,
    copy_tokenizer,
    largest_logit_difference,
    template_mismatch,
    write_config,
    write_weights,
)
from components.export.model_card import model_card, read_scores, write_card
from components.model.weights import read_strata
from components.tokenizer.contract import TextTokenizer, load_tokenizer


def run(config: ExportConfig, inputs: ExportInputs, context: StageContext) -> ExportFacts:
    """Write weights, configuration, tokenizer, card and certificate; raise BadInput if
    unfaithful."""
    out = context.out
    tokenizer = load_tokenizer(inputs.tokenizer.path)
    strata = read_strata(inputs.checkpoint.path)
    if strata["tokenizer_digest"] != tokenizer.digest:
        raise BadInput(
            f"The checkpoint of step {inputs.checkpoint.step} was trained with tokenizer"
            f" {strata['tokenizer_digest'][:12]}, but {tokenizer.digest[:12]} was given."
            " Export it with the tokenizer of its own run."
        )
    parameters = write_weights(inputs.checkpoint.path, out, getattr(torch, config.dtype))
    hf_config = write_config(inputs.checkpoint.path, out, tokenizer, config)
    copy_tokenizer(inputs.tokenizer.path, out)
    difference = _verify(config, tokenizer, context)
    named: list[tuple[str, Artifact]] = [
        ("checkpoint", inputs.checkpoint),
        ("tokenizer", inputs.tokenizer),
        *(("scores", scores) for scores in inputs.scores),
    ]
    card = model_card(
        config,
        hf_config,
        {"parameters": parameters, "tokens_seen": strata["tokens_seen"]},
        read_scores(inputs.scores),
        {f"{role} `{made.step}`": made.digest for role, made in named},
    )
    write_card(card, out)
    write_certificate(certificate(config.name, named, out), out)
    return ExportFacts(
        name=config.name,
        parameters=parameters,
        bytes=(out / WEIGHTS).stat().st_size,
        largest_logit_difference=difference,
        tokens_seen=strata["tokens_seen"],
    )


def _verify(config: ExportConfig, tokenizer: TextTokenizer, context: StageContext) -> float:
    difference = largest_logit_difference(context.out, config.verify_tokens)
    context.journal.event("verified", largest_logit_difference=difference)
    if not difference <= TOLERANCE:
        raise BadInput(
            f"transformers' logits differ from ours by {difference:.2e}, more than {TOLERANCE}:"
            " the release would be another model. Check model.to_hf and the names of weights."
        )
    mismatch = template_mismatch(context.out, tokenizer)
    if mismatch:
        raise BadInput(
            f"The chat template yields other tokens than training used, for {mismatch}."
            " Check components/tokenizer/chat_template.py."
        )
    return difference
