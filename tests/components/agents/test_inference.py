from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from components.agents.inference import (
    LockStepEngine,
    Noise,
    Row,
    Sampling,
    forbidden_tokens,
    inverse_cdf,
)
from components.model.config import ModelConfig
from components.model.transformer import YoutuModel, initialize

USER, CALL_END, END = 60, 61, 62
SHAPE = ModelConfig(
    vocab_size=64,
    hidden=16,
    layers=2,
    heads=2,
    q_rank=8,
    kv_rank=8,
    nope_dim=4,
    rope_dim=4,
    v_dim=4,
    mlp=24,
    rope_base=100.0,
    max_positions=48,
    init_std=0.4,
)


@dataclass(frozen=True)
class Vocabulary:
    """The part of a tokenizer that the engine reads: id 63 is in the embedding only."""

    vocab_size: int = 63
    special: dict[str, int] = field(
        default_factory=lambda: {
            "<|User|>": USER,
            "</tool_call>": CALL_END,
            "<|end_of_text|>": END,
        }
    )


@pytest.fixture(scope="module")
def model() -> YoutuModel:
    made = YoutuModel(SHAPE)
    initialize(made, seed=1)
    return made


def sampling(**changes: float) -> Sampling:
    settings = {"max_tokens": 30, "max_turn_tokens": 30, "temperature": 1.0, "seed": 5} | changes
    return Sampling(stop=frozenset({CALL_END, END}), **settings)  # type: ignore[arg-type]


def answer_calls(rows: list[Row]) -> list[list[int] | None]:
    return [[USER, 7, 8] if row.ids[-1] == CALL_END else None for row in rows]


def run(model: YoutuModel, rows: list[Row], settings: Sampling, max_rows: int = 256) -> list[Row]:
    LockStepEngine(model, Vocabulary(), max_rows=max_rows).generate(rows, answer_calls, settings)
    return rows


def prompts() -> list[Row]:
    return [Row(f"task-{index}", [1 + index, *range(2, 4 + index % 5)]) for index in range(24)]


def test_a_row_samples_the_same_alone_and_in_any_company(model: YoutuModel) -> None:
    together = run(model, prompts(), sampling())
    backwards = run(model, prompts()[::-1], sampling())[::-1]
    in_waves = run(model, prompts(), sampling(), max_rows=5)
    alone = [run(model, [row], sampling())[0] for row in prompts()]
    expected = [row.ids for row in together]
    for others in (backwards, in_waves, alone):
        assert [row.ids for row in others] == expected
    assert len({len(ids) for ids in expected}) > 1, "rows end at different times"


def test_noise_differs_by_seed_key_and_position(model: YoutuModel) -> None:
    first = [row.ids for row in run(model, prompts(), sampling())]
    assert [row.ids for row in run(model, prompts(), sampling(seed=6))] != first
    noise = Noise(0, [Row("a", [1]), Row("b", [1])])
    numbers = np.concatenate([noise.at(position, [0, 1]) for position in range(500)])
    assert len(set(numbers.tolist())) == 1000
    assert 0 <= numbers.min() < 0.02
    assert 0.98 < numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 0.03


def test_greedy_rows_follow_the_model_without_a_cache(model: YoutuModel) -> None:
    rows = run(model, prompts(), sampling(temperature=0))
    allowed = ~forbidden_tokens(Vocabulary(), SHAPE.vocab_size)
    for row in rows:
        logits = model(torch.tensor([row.ids[:-1]]))[0]
        logits[:, ~allowed] = float("-inf")
        for place in (place for place, flag in enumerate(row.sampled) if flag):
            assert row.ids[place] == int(logits[place - 1].argmax())


def test_recorded_log_probabilities_are_those_of_the_model(model: YoutuModel) -> None:
    rows = run(model, prompts(), sampling(temperature=0.8))
    forbidden = forbidden_tokens(Vocabulary(), SHAPE.vocab_size)
    for row in rows:
        logits = model(torch.tensor([row.ids[:-1]]))[0].masked_fill(forbidden, float("-inf"))
        expected = (logits / 0.8).log_softmax(-1)
        for place, flag in enumerate(row.sampled):
            if flag:
                right = expected[place - 1, row.ids[place]].item()
                assert row.logprobs[place] == pytest.approx(right, abs=2e-4)
            else:
                assert row.logprobs[place] == 0


def test_forced_tokens_follow_a_call_and_are_marked(model: YoutuModel) -> None:
    rows = run(model, prompts(), sampling(max_tokens=48))
    called = [row for row in rows if CALL_END in row.ids]
    assert called, "the fixture's model ends some turns with a call"
    for row in rows:
        for place, token in enumerate(row.ids):
            if token == CALL_END and place + 3 < len(row.ids):
                assert row.ids[place + 1 : place + 4] == [USER, 7, 8]
                assert row.sampled[place : place + 4] == [1, 0, 0, 0]
        assert END not in row.ids[:-1]
        assert row.finished


def test_template_tokens_and_unused_ids_are_never_sampled(model: YoutuModel) -> None:
    rows = run(model, prompts(), sampling(temperature=8.0, max_tokens=48))
    chosen = {row.ids[place] for row in rows for place, flag in enumerate(row.sampled) if flag}
    assert len(chosen) > 40
    assert not chosen & {USER, 63}


def test_budgets_end_rows(model: YoutuModel) -> None:
    for row in run(model, prompts(), sampling(max_turn_tokens=4)):
        assert row.turn_tokens <= 4
    assert max(len(row.ids) for row in run(model, prompts(), sampling(max_tokens=12))) <= 12
    longest = run(model, [Row("long", [1] * 20)], sampling(max_tokens=15))[0]
    assert longest.ids == [1] * 20
    assert max(len(row.ids) for row in run(model, prompts(), sampling(max_tokens=999))) <= 48


def test_the_distribution_function_is_inverted() -> None:
    logits = torch.tensor([[float("-inf"), 0.0, 1.0, float("-inf")]]).expand(4000, 4)
    uniform = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    chosen = inverse_cdf(logits, uniform)
    share = (chosen == 2).double().mean().item()
    assert share == pytest.approx(torch.tensor(1.0).sigmoid().item(), abs=1e-3)
    assert set(chosen.tolist()) == {1, 2}
    last = inverse_cdf(logits[:1], torch.tensor([1 - 2.0**-53], dtype=torch.float64))
    assert last.item() == 2
