from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from components.contract import BadInput
from components.model.config import ModelConfig
from components.model.transformer import YoutuModel, initialize
from components.model.weights import load_model, read_config, read_strata, save_checkpoint

SHAPE = ModelConfig(
    vocab_size=50, hidden=16, layers=1, heads=2, q_rank=8, kv_rank=8, nope_dim=4, rope_dim=4,
    v_dim=8, mlp=16, rope_base=1000.0, max_positions=32,
)  # fmt: skip


def saved(directory: Path) -> YoutuModel:
    model = YoutuModel(SHAPE)
    initialize(model, 0)
    save_checkpoint(model, directory, tokenizer_digest="abc", tokens_seen=10, steps=2)
    return model


def test_a_checkpoint_opens_as_it_was_saved(tmp_path: Path) -> None:
    model = saved(tmp_path)
    opened = load_model(tmp_path)
    assert opened.state_dict().keys() == model.state_dict().keys()
    tokens_BT = torch.arange(20)[None]
    assert torch.equal(opened(tokens_BT), model(tokens_BT))
    assert read_strata(tmp_path) == {"tokenizer_digest": "abc", "tokens_seen": 10, "steps": 2}
    assert read_config(tmp_path).parameters == SHAPE.parameters
    assert load_model(tmp_path, dtype=torch.float64)(tokens_BT).dtype == torch.float64


def test_saving_what_was_opened_gives_equal_bytes(tmp_path: Path) -> None:
    saved(tmp_path / "a")
    opened = load_model(tmp_path / "a")
    save_checkpoint(opened, tmp_path / "b", tokenizer_digest="abc", tokens_seen=10, steps=2)
    for name in ("model.safetensors", "config.json", "strata.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_transformers_opens_a_checkpoint(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = saved(tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    tokens_BT = torch.arange(20)[None]
    torch.testing.assert_close(theirs(tokens_BT).logits, model(tokens_BT), rtol=0, atol=1e-5)


def test_names_the_tensor_that_does_not_fit(tmp_path: Path) -> None:
    saved(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(BadInput, match=r"model\.norm\.weight"):
        load_model(tmp_path)


def test_the_configuration_names_the_rotary_base(tmp_path: Path) -> None:
    saved(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["rope_parameters"] == {"rope_type": "default", "rope_theta": 1000.0}
    assert stored["model_type"] == "youtu"
