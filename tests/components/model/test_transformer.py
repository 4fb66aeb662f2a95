from __future__ import annotations

import pytest
import torch

from components.model import attention
from components.model.attention import LatentCache
from components.model.config import ModelConfig
from components.model.generate import next_hidden
from components.model.transformer import YoutuModel, initialize

SHAPE = ModelConfig(
    vocab_size=300,
    hidden=64,
    layers=3,
    heads=4,
    q_rank=48,
    kv_rank=32,
    nope_dim=16,
    rope_dim=8,
    v_dim=20,
    mlp=96,
    rope_base=1000.0,
    max_positions=512,
)


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def model(request: pytest.FixtureRequest) -> YoutuModel:
    """Return a model whose attention is far from uniform: small fresh weights would hide errors."""
    made = YoutuModel(SHAPE.model_copy(update={"tied": request.param}))
    initialize(made, 0)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
            else:
                parameter.uniform_(0.5, 1.5, generator=draw)
    return made.eval()


@pytest.fixture(scope="module")
def tokens_BT() -> torch.Tensor:
    return torch.randint(0, 300, (3, 40), generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def test_logits_equal_those_of_transformers(model: YoutuModel, tokens_BT: torch.Tensor) -> None:
    from transformers import YoutuConfig, YoutuForCausalLM

    theirs = YoutuForCausalLM(YoutuConfig(**model.config.to_hf())).eval()
    loaded = theirs.load_state_dict(model.state_dict(), strict=False)
    assert loaded.unexpected_keys == []
    assert loaded.missing_keys == (["lm_head.weight"] if model.config.tied else [])
    ours_BTV, theirs_BTV = model(tokens_BT), theirs(tokens_BT).logits
    assert ours_BTV.abs().max() > 10
    torch.testing.assert_close(ours_BTV, theirs_BTV, rtol=0, atol=1e-4)


@torch.no_grad()
def test_cached_generation_equals_the_whole_forward(
    model: YoutuModel, tokens_BT: torch.Tensor
) -> None:
    whole_BTH = model.hidden(tokens_BT)
    cache = LatentCache(model.config, 3, 40)
    pieces = [model.hidden(tokens_BT[:, :5], cache), model.hidden(tokens_BT[:, 5:9], cache)]
    pieces += [model.hidden(tokens_BT[:, at : at + 1], cache) for at in range(9, 30)]
    pieces.append(model.hidden(tokens_BT[:, 30:], cache))
    assert cache.length == 40
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole_BTH, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="41 tokens in a cache for 40"):
        model.hidden(tokens_BT[:, :1], cache)


@torch.no_grad()
def test_next_hidden_after_rows_were_selected(model: YoutuModel, tokens_BT: torch.Tensor) -> None:
    whole_BTH = model.hidden(tokens_BT)
    cache = LatentCache(model.config, 3, 64)
    next_hidden(model, tokens_BT[:, :20], cache)
    cache.select(torch.tensor([2, 0]))
    for at in range(20, 25):
        rows = tokens_BT[[2, 0], at : at + 1]
        state_BH = next_hidden(model, rows, cache)
    torch.testing.assert_close(state_BH, whole_BTH[[2, 0], 24], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_later_tokens_do_not_change_earlier_logits(
    model: YoutuModel, tokens_BT: torch.Tensor
) -> None:
    changed_BT = tokens_BT.clone()
    changed_BT[:, 25:] = 7
    torch.testing.assert_close(model(changed_BT)[:, :25], model(tokens_BT)[:, :25])


def test_fresh_weights_have_the_authors_spread() -> None:
    config = SHAPE.model_copy(update={"hidden": 256, "vocab_size": 2000})
    model, again = YoutuModel(config), YoutuModel(config)
    initialize(model, 3)
    initialize(again, 3)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, again.state_dict()[name])
        if parameter.ndim == 1:
            assert (parameter == 1).all()
            continue
        wanted = (2 / (5 * 256)) ** 0.5 * (2 if "embed" in name else 1)
        assert parameter.std().item() == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize("dense", [4096, 8], ids=["mask", "spans"])
def test_attention_stays_inside_documents(
    model: YoutuModel, tokens_BT: torch.Tensor, dense: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "DENSE_MASK_TOKENS", dense)
    documents_BT = torch.tensor([[0] * 15 + [1] * 25, [0] * 40, [3] * 1 + [4] * 9 + [5] * 30])
    packed_BTH = model.hidden(tokens_BT, documents_BT=documents_BT)
    for row, start, end in (
        (0, 0, 15),
        (0, 15, 40),
        (1, 0, 40),
        (2, 0, 1),
        (2, 1, 10),
        (2, 10, 40),
    ):
        # Positions are relative, so a document means the same wherever it stands.
        alone_BTH = model.hidden(tokens_BT[row : row + 1, start:end])
        torch.testing.assert_close(
            packed_BTH[row : row + 1, start:end], alone_BTH, rtol=1e-3, atol=1e-4
        )
    gradients = torch.autograd.grad(packed_BTH[0, 15:].sum(), model.model.embed_tokens.weight)
    seen = set(gradients[0].abs().sum(1).nonzero().flatten().tolist())
    assert seen == set(tokens_BT[0, 15:].tolist())
