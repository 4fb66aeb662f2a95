import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from components.artifacts.types import Checkpoint, Scores
from components.contract import BadInput
from components.export.certificate import mismatches
from components.export.config import ExportConfig, ExportInputs
from components.export.huggingface import template_mismatch
from components.export.stage import run
from components.model.weights import load_model
from components.serving.answers import load_answerer
from components.tokenizer.contract import build
from tests.small_agent import SmallAgent, artifact, context, small_agent


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> SmallAgent:
    return small_agent(tmp_path_factory.mktemp("agent"))


def inputs(agent: SmallAgent, directory: Path) -> ExportInputs:
    scores = artifact(Scores, directory / "scores", "scores.agent")
    entry = {"value": 0.5, "n": 4, "low": 0.2, "high": 0.8}
    scores.table.write_text(json.dumps({"success/greedy": entry}))
    return ExportInputs(checkpoint=agent.checkpoint, tokenizer=agent.tokenizer, scores=(scores,))


def test_a_release_loads_and_answers_in_transformers(agent: SmallAgent, tmp_path: Path) -> None:
    facts = run(ExportConfig(name="tiny"), inputs(agent, tmp_path), context(tmp_path))
    folder = tmp_path / "out"
    assert facts.largest_logit_difference < 1e-3
    assert facts.parameters == load_model(agent.checkpoint.path).config.parameters
    assert facts.bytes == (folder / "model.safetensors").stat().st_size
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    assert type(model).__name__ == "YoutuForCausalLM"
    assert model.config.rope_parameters["rope_theta"] == 500.0
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": agent.asked[0]["question"]}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    end = tokenizer.convert_tokens_to_ids("</tool_call>")
    out = model.generate(**prompt, max_new_tokens=60, do_sample=False, eos_token_id=end)
    written = tokenizer.decode(out[0][prompt["input_ids"].shape[1] :])
    assert written == '<tool_call>{"name":"calc","arguments":{"e":"3+1"}}</tool_call>'


def test_card_and_certificate_fit_the_folder(agent: SmallAgent, tmp_path: Path) -> None:
    run(ExportConfig(name="tiny"), inputs(agent, tmp_path), context(tmp_path))
    folder = tmp_path / "out"
    assert "| `success/greedy` | 50.0 % (20.0–80.0), n = 4 |" in (folder / "README.md").read_text()
    assert mismatches(folder) == []
    certificate = json.loads((folder / "certificate.json").read_text())
    assert [entry["role"] for entry in certificate["inputs"]] == [
        "checkpoint",
        "tokenizer",
        "scores",
    ]
    assert set(certificate["files"]) == {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "contract.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_equal_inputs_give_equal_bytes(agent: SmallAgent, tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(ExportConfig(name="tiny"), inputs(agent, tmp_path / name), context(tmp_path / name))
    first, second = (tmp_path / name / "out" / "certificate.json" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("describe", [True, False])
def test_a_release_says_whether_prompts_describe_the_tools(
    agent: SmallAgent, tmp_path: Path, describe: bool
) -> None:
    config = ExportConfig(describe_tools=describe)
    run(config, inputs(agent, tmp_path), context(tmp_path))
    read = GenerationConfig.from_pretrained(tmp_path / "out", local_files_only=True)
    assert read.to_dict()["describe_tools"] is describe
    # The folder's own word counts, whatever the caller takes for granted.
    served = load_answerer(tmp_path / "out", describe_tools=not describe)
    assert served.describe_tools is describe


def test_bfloat16_halves_the_weights(agent: SmallAgent, tmp_path: Path) -> None:
    facts = run(
        ExportConfig(name="tiny", dtype="bfloat16"), inputs(agent, tmp_path), context(tmp_path)
    )
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert facts.largest_logit_difference < 1e-3
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"


def damaged(agent: SmallAgent, directory: Path, **config: object) -> Checkpoint:
    """Copy the checkpoint, with other values in its config.json."""
    directory.mkdir()
    for file in agent.checkpoint.path.iterdir():
        (directory / file.name).write_bytes(file.read_bytes())
    stored = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(stored | config))
    return Checkpoint(directory, "agent", "", "")


def test_a_model_that_transformers_reads_differently_is_refused(
    agent: SmallAgent, tmp_path: Path
) -> None:
    # Our own model has silu built in; transformers believes the configuration.
    strange = damaged(agent, tmp_path / "checkpoint", hidden_act="gelu")
    given = inputs(agent, tmp_path).model_copy(update={"checkpoint": strange})
    with pytest.raises(BadInput, match="logits differ from ours"):
        run(ExportConfig(), given, context(tmp_path))


def test_another_chat_template_is_found(agent: SmallAgent, tmp_path: Path) -> None:
    run(ExportConfig(), inputs(agent, tmp_path), context(tmp_path))
    assert template_mismatch(tmp_path / "out", agent.text_tokenizer) is None
    template = tmp_path / "out" / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|User|>", "~<|User|>"))
    found = template_mismatch(tmp_path / "out", agent.text_tokenizer)
    assert found is not None
    assert "a question" in found


def test_another_tokenizer_is_refused(agent: SmallAgent, tmp_path: Path) -> None:
    other = artifact(type(agent.tokenizer), tmp_path / "tokenizer", "tokenizer")
    build(other.path, merges=[(b"t", b"h")])
    given = inputs(agent, tmp_path).model_copy(update={"tokenizer": other})
    with pytest.raises(BadInput, match="was trained with tokenizer"):
        run(ExportConfig(), given, context(tmp_path))


def test_a_repeated_output_matrix_is_left_out(agent: SmallAgent, tmp_path: Path) -> None:
    twice = damaged(agent, tmp_path / "checkpoint")
    tensors = load_file(twice.path / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, twice.path / "model.safetensors", metadata={"format": "pt"})
    given = inputs(agent, tmp_path).model_copy(update={"checkpoint": twice})
    facts = run(ExportConfig(), given, context(tmp_path))
    assert facts.parameters == load_model(agent.checkpoint.path).config.parameters
