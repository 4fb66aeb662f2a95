from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from components.model.transformer import YoutuModel, initialize
from components.shards.loader import open_shards
from components.tokenizer.contract import load_tokenizer
from components.training.heldout import HeldoutScores, bits_per_byte
from tests.components.training.sample_inputs import make_inputs


def test_a_model_that_knows_nothing_spends_the_bits_of_its_vocabulary(tmp_path: Path) -> None:
    sample = make_inputs(tmp_path)
    tokenizer = load_tokenizer(sample.tokenizer.path)
    model = YoutuModel(sample.shape)
    initialize(model, 0)
    with torch.no_grad():
        model.model.embed_tokens.weight.zero_()
    scores = HeldoutScores(
        model, open_shards(sample.shards.path), bos=tokenizer.bos, length=50, tokens=500
    )
    # The byte-level vocabulary spends one token a byte, so every domain costs log2(V) a byte.
    wanted = math.log2(sample.shape.vocab_size)
    assert scores.scores() == pytest.approx(dict.fromkeys(("general", "stem", "code"), wanted))
    nothing = HeldoutScores(
        model, open_shards(sample.shards.path), bos=tokenizer.bos, length=50, tokens=0
    )
    assert nothing.scores() == {}


@torch.no_grad()
def test_windows_predict_every_token_once(tmp_path: Path) -> None:
    sample = make_inputs(tmp_path)
    model = YoutuModel(sample.shape)
    initialize(model, 0)
    tokens = np.arange(1, 105) % 200
    value = bits_per_byte(model, tokens, 77, bos=50, length=10)
    nats = 0.0
    for start in range(0, 103, 10):
        window = torch.from_numpy(tokens[start : start + 11])[None]
        documents = (window[:, :-1] == 50).cumsum(1)
        hidden = model.hidden(window[:, :-1], documents_BT=documents)
        logprob = model.head(hidden).log_softmax(-1)[0]
        for at, target in enumerate(window[0, 1:].tolist()):
            nats -= 0.0 if target == 50 else float(logprob[at, target])
    assert value == pytest.approx(nats / math.log(2) / 77, rel=1e-5)
