"""Write a folder that `transformers` loads without remote code, and prove that it means the same.

The proof is made on the released files themselves: both implementations load the folder, and their
logits are compared; the chat template must render to the token ids that training used.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.agents.conversation import Conversation, Message, ToolCall, encode, encode_prompt
from components.export.config import ExportConfig
from components.model.weights import load_model
from components.tokenizer.contract import TextTokenizer

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "contract.json",
)
WEIGHTS = "model.safetensors"
TOLERANCE = 1e-3
SEQUENCES = 4


def write_weights(checkpoint: Path, out: Path, dtype: torch.dtype) -> int:
    """Write model.safetensors under Hugging Face names; return the number of weights.

    A repeated copy of tied embeddings is left out.
    """
    tensors = load_file(checkpoint / WEIGHTS)
    tied = json.loads((checkpoint / "config.json").read_text())["tie_word_embeddings"]
    kept = {
        name: tensors[name].to(dtype).contiguous()
        for name in sorted(tensors)
        if not (tied and name == "lm_head.weight")
    }
    save_file(kept, out / WEIGHTS, metadata={"format": "pt"})
    return sum(tensor.numel() for tensor in kept.values())


def write_config(
    checkpoint: Path, out: Path, tokenizer: TextTokenizer, config: ExportConfig
) -> dict[str, Any]:
    """Write config.json and generation_config.json; return the former.

    The rotary base is stated in `rope_parameters`: without it the class falls back to 10,000.
    Raises ValueError for a checkpoint whose config names no rotary base.
    """
    stored = json.loads((checkpoint / "config.json").read_text())
    rope: Mapping[str, Any] = stored.get("rope_parameters") or {}
    theta = rope.get("rope_theta", stored.get("rope_theta"))
    if theta is None:
        raise ValueError(f"{checkpoint / 'config.json'} names no rope_theta")
    hf_config = stored | {
        "architectures": ["YoutuForCausalLM"],
        "model_type": "youtu",
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        "rope_interleave": True,
        "bos_token_id": tokenizer.bos,
        "eos_token_id": tokenizer.eos,
        # Not the end of text: `transformers` 5.23 zeroes the padding token's embedding on loading.
        "pad_token_id": None,
        "dtype": config.dtype,
    }
    generation: dict[str, Any] = {
        "bos_token_id": tokenizer.bos,
        "eos_token_id": tokenizer.eos,
        "pad_token_id": tokenizer.eos,
        "do_sample": config.temperature > 0,
        # Ours, for our server and other readers; `transformers` keeps it as an attribute.
        "describe_tools": config.describe_tools,
    }
    if config.temperature > 0:
        generation["temperature"] = config.temperature
    _write_json(out / "config.json", hf_config)
    _write_json(out / "generation_config.json", generation)
    return hf_config


def copy_tokenizer(folder: Path, out: Path) -> None:
    """Copy the tokenizer's files byte by byte."""
    for name in TOKENIZER_FILES:
        shutil.copyfile(folder / name, out / name)


@torch.no_grad()
def largest_logit_difference(folder: Path, tokens: int, *, seed: int = 0) -> float:
    """Return the largest absolute difference of logits between both implementations, in float32."""
    ours = load_model(folder)
    theirs: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False
    )
    theirs.eval()
    length = min(tokens, ours.config.max_positions)
    draw = torch.Generator().manual_seed(seed)
    tokens_BT = torch.randint(0, ours.config.vocab_size, (SEQUENCES, length), generator=draw)
    difference_BTV = ours.eval()(tokens_BT) - theirs(tokens_BT).logits
    return float(difference_BTV.abs().max())


def template_mismatch(folder: Path, tokenizer: TextTokenizer) -> str | None:
    """Return what `transformers` renders differently from our own encoding; None where all
    agrees."""
    theirs: Any = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    call = Message("assistant", tool_calls=(ToolCall("calc", {"e": "12*3"}),))
    asked = (Message("system", "Be brief."), Message("user", "What is 12 * 3?"))
    cases = {
        "a question": (Conversation(asked), True),
        "an answered question": (Conversation((*asked, Message("assistant", "36"))), False),
        "a tool call": (Conversation((*asked, call, Message("tool", "36"))), True),
    }
    for name, (conversation, prompt) in cases.items():
        expected = (
            encode_prompt(conversation, tokenizer) if prompt else encode(conversation, tokenizer)[0]
        )
        rendered = theirs.apply_chat_template(
            [message.to_hf() for message in conversation.messages],
            add_generation_prompt=prompt,
            tokenize=True,
            return_dict=False,
        )
        if list(rendered) != expected:
            return f"{name}: {theirs.decode(rendered)!r} where {theirs.decode(expected)!r} is right"
    return None


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
