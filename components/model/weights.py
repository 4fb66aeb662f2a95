"""Read and write checkpoints: `model.safetensors`, `config.json`, `strata.json`.

A checkpoint holds what the model is and nothing of how it was trained, so that an interrupted run
and an undisturbed one write equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from components.contract import BadInput
from components.model.config import ModelConfig
from components.model.transformer import YoutuModel

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
STRATA = "strata.json"


def save_checkpoint(
    model: YoutuModel, directory: Path, *, tokenizer_digest: str, tokens_seen: int, steps: int
) -> None:
    """Write the weights in fp32 under Hugging Face names, the configuration and the lineage.

    `tokens_seen` and `steps` count the whole life of the weights, over all stages.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.detach().to("cpu", torch.float32).contiguous()
        for name, tensor in sorted(model.state_dict().items())
    }
    save_file(tensors, directory / WEIGHTS, metadata={"format": "pt"})
    _write_json(directory / CONFIG, model.config.to_hf())
    lineage = {"tokenizer_digest": tokenizer_digest, "tokens_seen": tokens_seen, "steps": steps}
    _write_json(directory / STRATA, lineage)


def read_config(directory: Path) -> ModelConfig:
    """Return the shape of a checkpoint's model."""
    return ModelConfig.from_hf(json.loads((directory / CONFIG).read_text(encoding="utf-8")))


def read_strata(directory: Path) -> dict[str, Any]:
    """Return `tokenizer_digest`, `tokens_seen` and `steps` of a checkpoint."""
    return json.loads((directory / STRATA).read_text(encoding="utf-8"))


def load_model(
    directory: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> YoutuModel:
    """Open a checkpoint; raises BadInput where weights and configuration do not fit."""
    tensors = load_file(directory / WEIGHTS)
    with torch.device("meta"):
        model = YoutuModel(read_config(directory))
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if expected != found:
        wrong = sorted(set(expected.items()) ^ set(found.items()))[0]
        raise BadInput(
            f"{directory / WEIGHTS} does not fit its config.json, first at {wrong[0]}: "
            "the checkpoint is damaged or was not written by this project"
        )
    model.to_empty(device=device)
    model.load_state_dict(tensors)
    return model.to(dtype=dtype)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
