"""The model card: what the model is, how it scored at every step, and what it was made from.

All figures are the run's own, with their intervals; the card claims nothing that was not measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.artifacts.types import Scores
from components.export.config import ExportConfig

NEUTRAL = (
    "A small language model trained from raw text to tool use: text in three phases, agentic"
    " trajectories, supervised fine-tuning, and reinforcement learning with executed tools."
)

LOADING = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{name}")
model = AutoModelForCausalLM.from_pretrained("{name}")
chat = [{{"role": "user", "content": "What is 12 * 34?"}}]
inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=64)[0]))
```
"""


PROMPTS = {
    True: "Prompts described the tools in training: give them as `tools` to the chat template.",
    False: "Prompts did not describe the tools in training: give the chat template no `tools`.",
}
"""What the card says, by `ExportConfig.describe_tools`."""


@dataclass(frozen=True)
class Score:
    """Hold one figure of one checkpoint with its interval and number of items."""

    value: float
    low: float
    high: float
    n: int


def read_scores(artifacts: Sequence[Scores]) -> dict[str, dict[str, Score]]:
    """Return step to score name to figure, in the order given; `scores.agent` is named `agent`."""
    table: dict[str, dict[str, Score]] = {}
    for artifact in artifacts:
        stored = json.loads(artifact.table.read_text(encoding="utf-8"))
        table[artifact.step.removeprefix("scores.")] = {
            name: Score(entry["value"], entry["low"], entry["high"], entry["n"])
            for name, entry in stored.items()
        }
    return table


def score_table(scores: Mapping[str, Mapping[str, Score]]) -> str:
    """Return a Markdown table: one row a score, one column a step, each cell with its interval."""
    if not scores:
        return "No scores were given to this release.\n"
    names = sorted({name for column in scores.values() for name in column})
    lines = [
        "| score | " + " | ".join(scores) + " |",
        "|---|" + "---|" * len(scores),
    ]
    for name in names:
        cells = [_cell(name, column.get(name)) for column in scores.values()]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(name: str, score: Score | None) -> str:
    if score is None:
        return "–"
    if name.startswith("bits_per_byte"):
        return f"{score.value:.3f} ({score.low:.3f}–{score.high:.3f})"
    return (
        f"{100 * score.value:.1f} % ({100 * score.low:.1f}–{100 * score.high:.1f}), n = {score.n}"
    )


def model_card(
    config: ExportConfig,
    hf_config: Mapping[str, Any],
    training: Mapping[str, Any],
    scores: Mapping[str, Mapping[str, Score]],
    lineage: Mapping[str, str],
) -> str:
    """Return README.md: `training` holds `parameters` and `tokens_seen`, `lineage` role to
    digest."""
    parts = [
        _header(config),
        f"# {config.name}\n\n{config.description or NEUTRAL}\n",
        "## Model\n\n" + _facts(hf_config, training),
        "## Scores\n\n"
        "Each column is one checkpoint of this run, scored on the same held-out items; in brackets"
        " the interval. `bits_per_byte` is better when lower, everything else when higher. Success"
        " means an exact final answer after really executing the tool calls.\n\n"
        + score_table(scores),
        "## Use\n\n" + LOADING.format(name=config.name) + "\n"
        'A call is written `<tool_call>{"name": …, "arguments": {…}}</tool_call>`; its result comes'
        " back as a user turn `<tool_response>…</tool_response>`."
        f" {PROMPTS[config.describe_tools]}\n",
        "## Limits\n\n"
        "Scores hold for the tasks named above and say nothing about others. The model has had no"
        " safety training. Run whatever it calls in a sandbox.\n",
        f"## Licence\n\n{config.license_text}\n",
        "## Origin\n\n"
        "`certificate.json` holds the digests of all inputs and of every file in this folder.\n\n"
        + "".join(f"- {role}: `{digest}`\n" for role, digest in lineage.items()),
    ]
    return "\n".join(parts)


def _header(config: ExportConfig) -> str:
    return (
        "---\n"
        f"license: {config.license}\n"
        f"language:\n- {config.language}\n"
        "library_name: transformers\n"
        "pipeline_tag: text-generation\n"
        "tags:\n- tool-use\n- multi-head-latent-attention\n"
        "---\n"
    )


def _facts(hf_config: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    rows = {
        "architecture": "decoder with multi-head latent attention (`YoutuForCausalLM`)",
        "parameters": f"{training['parameters']:,}",
        "training tokens": f"{training['tokens_seen']:,}",
        "layers": hf_config["num_hidden_layers"],
        "hidden size": hf_config["hidden_size"],
        "heads": hf_config["num_attention_heads"],
        "latent ranks (q, kv)": f"{hf_config['q_lora_rank']}, {hf_config['kv_lora_rank']}",
        "vocabulary": f"{hf_config['vocab_size']:,}",
        "positions": f"{hf_config['max_position_embeddings']:,}",
    }
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    return "\n".join(lines) + "\n"


def write_card(text: str, folder: Path) -> None:
    """Write README.md."""
    (folder / "README.md").write_text(text, encoding="utf-8")
