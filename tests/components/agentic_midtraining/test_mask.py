from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.agentic_midtraining.mask import MixedSequences, trajectories_before
from components.shards.loader import open_shards
from components.tokenizer.contract import load_tokenizer
from components.training.conversations import read_conversations
from components.training.packing import pack
from tests.components.training.sample_inputs import make_inputs


@pytest.mark.parametrize("share", [0.6, 1.0, 0.333333])
def test_trajectories_are_spread_evenly(share: float) -> None:
    taken = [trajectories_before(p + 1, share) - trajectories_before(p, share) for p in range(1000)]
    assert set(taken) <= {0, 1}
    assert sum(taken) == pytest.approx(1000 * share, abs=1)
    for start in range(0, 990, 10):
        assert abs(sum(taken[start : start + 10]) - 10 * share) <= 1


def test_sequences_are_a_pure_function_of_the_position(tmp_path: Path) -> None:
    sample = make_inputs(tmp_path)
    tokenizer = load_tokenizer(sample.tokenizer.path)
    examples = read_conversations(sample.trajectories.split("midtrain"), tokenizer)
    packed = pack(examples, 129, padding=tokenizer.eos, seed=1)
    shards = open_shards(sample.shards.path)

    def opened(seed: int) -> MixedSequences:
        mixture = {"general": 0.5, "code": 0.5}
        return MixedSequences(packed, shards, share=0.5, mixture=mixture, seed=seed)

    forward = opened(1).batches(4, bos=tokenizer.bos)
    whole = [forward(step, range(4)) for step in range(6)]
    other = opened(1).batches(4, bos=tokenizer.bos)
    for step in reversed(range(6)):
        for row in (3, 1):
            piece = other(step, range(row, row + 1))
            assert (piece.ids_BS[0] == whole[step].ids_BS[row]).all()
            assert piece.mask_BT is not None
            assert whole[step].mask_BT is not None
            assert (piece.mask_BT[0] == whole[step].mask_BT[row]).all()
    different = opened(2).batches(4, bos=tokenizer.bos)(0, range(4))
    assert (different.ids_BS != whole[0].ids_BS).any()


def test_tool_output_and_wrong_actions_carry_no_loss(tmp_path: Path) -> None:
    sample = make_inputs(tmp_path, conversations=1)
    tokenizer = load_tokenizer(sample.tokenizer.path)
    examples = read_conversations(sample.trajectories.split("midtrain"), tokenizer)
    packed = pack(examples, 200, padding=tokenizer.eos, seed=0)
    target_T = packed.ids_PS[0, 1:]
    learned = tokenizer.decode(target_T[packed.mask_PT[0]].tolist())
    assert learned == '<tool_call>{"name":"c","arguments":{"e":"0+1"}}</tool_call>' + (
        "1<|end_of_text|>"
    )
    assert "error" in tokenizer.decode(target_T.tolist())
    assert packed.loss_tokens == int(np.count_nonzero(packed.mask_PT))
