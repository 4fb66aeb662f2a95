import math
from pathlib import Path

import pytest
import torch

from components.evaluation.benchmarks.text_loss import score_text
from components.model.weights import load_model
from tests.small_agent import SmallAgent, small_agent


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> SmallAgent:
    return small_agent(tmp_path_factory.mktemp("agent"), number_of_tasks=1)


def test_bits_per_byte_count_every_token_once(agent: SmallAgent, tmp_path: Path) -> None:
    model, tokenizer = load_model(agent.checkpoint.path), agent.text_tokenizer
    texts = ["héllo world, once more", "x"]
    tokens = [token for text in texts for token in (tokenizer.bos, *tokenizer.encode(text))]
    items = score_text(model, tokenizer, tokens, domain="code", context=100)
    assert [item.weight for item in items] == [len(text.encode()) for text in texts]
    for item, text in zip(items, texts, strict=True):
        ids = torch.tensor([tokenizer.bos, *tokenizer.encode(text)])
        logprobs = model(ids[None, :-1])[0].log_softmax(-1)
        bits = -logprobs.gather(1, ids[1:, None]).sum().item() / math.log(2)
        assert item.value == pytest.approx(bits / len(text.encode()), rel=1e-4)
    windows = score_text(model, tokenizer, tokens, domain="code", context=5)
    assert [item.id for item in windows] == [item.id for item in items]
    assert windows[1].value == pytest.approx(items[1].value, rel=1e-4)


def test_an_even_model_spends_the_entropy_of_its_alphabet(agent: SmallAgent) -> None:
    model, tokenizer = load_model(agent.checkpoint.path), agent.text_tokenizer
    with torch.no_grad():
        model.model.norm.weight.zero_()
    tokens = [tokenizer.bos, *tokenizer.encode("any text at all, in several windows")]
    item = score_text(model, tokenizer, tokens, domain="stem", context=8)[0]
    assert item.value == pytest.approx(math.log2(tokenizer.vocab_size), rel=1e-5)
