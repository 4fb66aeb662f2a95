"""The stage `tokenizer`: sample the training text, learn merges, write the folder, measure it.

One fit on a weighted sample stands for the paper's several stages (o200k's ASCII part, then
Chinese, then code and mathematics): we start from no other tokenizer's vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from components.artifacts.types import DOMAINS, Corpus
from components.contract import BadInput, StageContext, Stopped
from components.tokenizer.bpe import learn_merges, several_digits
from components.tokenizer.config import TokenizerConfig, TokenizerFacts, TokenizerInputs
from components.tokenizer.contract import TextTokenizer, build, load_tokenizer
from components.tokenizer.sample import budgets, sample_documents
from components.tokenizer.special_tokens import special_slots


def run(config: TokenizerConfig, inputs: TokenizerInputs, context: StageContext) -> TokenizerFacts:
    """Write tokenizer.json, tokenizer_config.json, chat_template.jinja, contract.json and
    report.json.

    Raises BadInput where the corpus holds no training text, or too little for the vocabulary.
    """
    sampled: dict[str, int] = dict.fromkeys(config.weights, 0)
    texts = _training_text(config, inputs.corpus, context, sampled)
    slots = special_slots(config.vocab_size)
    merges = learn_merges(texts, config.vocab_size - 256 - slots)
    assert not several_digits(merges), "the pre-tokenizer let two digits into one token"
    digest = build(context.out, merges, slots)
    tokenizer = load_tokenizer(context.out)
    measured = {
        domain: found
        for domain in DOMAINS
        if (found := _compression(tokenizer, inputs.corpus, domain, config))
    }
    facts = TokenizerFacts(
        vocab_size=tokenizer.vocab_size,
        sampled_bytes=sum(sampled.values()),
        bytes_per_token={domain: found["bytes_per_token"] for domain, found in measured.items()},
        contract=digest,
    )
    report = {"heldout": measured, "merges": len(merges), "sampled_bytes": sampled, "slots": slots}
    text = json.dumps(report, indent=2, sort_keys=True) + "\n"
    (context.out / "report.json").write_text(text, encoding="utf-8")
    return facts


def _training_text(
    config: TokenizerConfig, corpus: Corpus, context: StageContext, sampled: dict[str, int]
) -> Iterator[str]:
    total = config.sample_bytes
    for domain, most in budgets(config.weights, config.sample_bytes).items():
        for text in sample_documents(corpus.documents("train", domain), most, config.seed):
            sampled[domain] += len(text.encode())
            yield text
        context.journal.progress(sum(sampled.values()), total, "bytes")
        if context.stop_requested():
            raise Stopped
    if not any(sampled.values()):
        raise BadInput(
            f"the corpus of step {corpus.step} has no training text in the domains"
            f" {', '.join(config.weights)}: add a source, or change tokenizer.weights."
        )


def _compression(
    tokenizer: TextTokenizer, corpus: Corpus, domain: str, config: TokenizerConfig
) -> dict[str, Any]:
    path = corpus.documents("heldout", domain)
    texts = list(sample_documents(path, config.report_bytes, config.seed))
    size = sum(len(text.encode()) for text in texts)
    tokens = sum(len(ids) for ids in tokenizer.encode_batch(texts))
    if not tokens:
        return {}
    return {"bytes": size, "bytes_per_token": round(size / tokens, 4), "tokens": tokens}
