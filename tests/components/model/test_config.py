from __future__ import annotations

import subprocess
import sys

import torch

from components.model.config import ModelConfig
from components.model.transformer import YoutuModel


def test_the_papers_model_has_its_parameter_count() -> None:
    config = ModelConfig()
    assert config.parameters == 1_961_560_064
    with torch.device("meta"):
        model = YoutuModel(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == config.parameters
    assert config.initial_std == (2 / (5 * 2048)) ** 0.5


def test_the_configuration_survives_its_hugging_face_form() -> None:
    config = ModelConfig(hidden=64, layers=2, heads=2, rope_base=1000.0, tied=False)
    read = ModelConfig.from_hf(config.to_hf())
    assert read == config.model_copy(update={"init_std": config.initial_std})
    assert read.to_hf() == config.to_hf()


def test_configurations_import_without_torch() -> None:
    names = ("pretraining", "agentic_midtraining", "sft", "model")
    imports = "; ".join(f"import components.{name}.config" for name in names)
    code = f"import sys; {imports}; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
