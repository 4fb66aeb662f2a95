from dataclasses import replace

import pytest
import torch

from components.agents.inference import LockStepEngine, Row, Sampling
from components.model.config import ModelConfig
from components.model.transformer import YoutuModel, initialize
from components.rl.advantages import group_advantages
from components.rl.config import RlConfig
from components.rl.grpo import Episode
from components.rl.trainer import PolicyTrainer

SHAPE = ModelConfig(
    vocab_size=24,
    hidden=32,
    layers=1,
    heads=2,
    q_rank=16,
    kv_rank=16,
    nope_dim=8,
    rope_dim=8,
    v_dim=8,
    mlp=48,
    rope_base=100.0,
    max_positions=16,
)
CONFIG = RlConfig(learning_rate=3e-3)
PROMPTS = 6
GROUP = 8


class Vocabulary:
    def __init__(self) -> None:
        self.vocab_size = 24
        self.special = {"<|User|>": 23}


def tiny(seed: int = 0) -> YoutuModel:
    model = YoutuModel(SHAPE)
    initialize(model, seed)
    return model


def sample(engine: LockStepEngine, step: int) -> list[Row]:
    """Let each prompt p be continued by two tokens, `GROUP` times."""
    rows = [Row(f"{prompt}/{n}", [22, prompt]) for prompt in range(PROMPTS) for n in range(GROUP)]
    sampling = Sampling(frozenset(), max_tokens=4, max_turn_tokens=2, temperature=1.0, seed=step)
    engine.generate(rows, lambda stopped: [None] * len(stopped), sampling)
    return rows


def episodes(rows: list[Row]) -> tuple[list[Episode], float]:
    """Reward a first token of the other parity; tied embeddings begin by repeating the prompt."""
    rewards = [float(row.ids[2] % 2 != row.ids[1] % 2) for row in rows]
    made: list[Episode] = []
    for start in range(0, len(rows), GROUP):
        advantages = group_advantages(rewards[start : start + GROUP], [True] * GROUP)
        for row, advantage in zip(rows[start : start + GROUP], advantages or (), strict=False):
            made.append(Episode(row.ids, row.sampled, row.logprobs, advantage))
    return made, sum(rewards) / len(rewards)


def test_a_bandit_is_learned() -> None:
    model = tiny()
    engine = LockStepEngine(model, Vocabulary())  # type: ignore[arg-type]
    trainer = PolicyTrainer(model, CONFIG, engine.forbidden_V)
    rewards: list[float] = []
    for step in range(40):
        learned, reward = episodes(sample(engine, step))
        rewards.append(reward)
        if learned:
            trainer.update(learned)
    assert sum(rewards[:3]) / 3 < 0.4
    assert sum(rewards[-3:]) / 3 > 0.95


def test_trainer_and_sampler_agree_before_the_first_update() -> None:
    model = tiny()
    engine = LockStepEngine(model, Vocabulary())  # type: ignore[arg-type]
    trainer = PolicyTrainer(model, CONFIG, engine.forbidden_V)
    learned, _ = episodes(sample(engine, 0))
    update = trainer.update(learned)
    assert update.gap_max < 1e-4
    assert update.gap_mean <= update.gap_max
    assert trainer.updates == 2
    assert update.metrics()["rl/trainer_sampler_gap"] == update.gap_mean


def test_micro_batches_change_nothing_but_rounding() -> None:
    weights: list[torch.Tensor] = []
    for rows in (0, 5):
        model = tiny()
        engine = LockStepEngine(model, Vocabulary())  # type: ignore[arg-type]
        learned, _ = episodes(sample(engine, 0))
        config = CONFIG.model_copy(update={"optimizer_steps_per_batch": 1})
        trainer = PolicyTrainer(model, config, engine.forbidden_V, micro_batch=rows)
        weights.append(torch.tensor(trainer.update(learned).gradient_norm))
    assert torch.allclose(weights[0], weights[1], rtol=1e-4)


def test_a_loss_that_is_not_finite_leaves_the_weights_alone() -> None:
    model = tiny()
    engine = LockStepEngine(model, Vocabulary())  # type: ignore[arg-type]
    learned, _ = episodes(sample(engine, 0))
    spoilt = [replace(episode, advantage=float("nan")) for episode in learned]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    update = PolicyTrainer(model, CONFIG, engine.forbidden_V).update(spoilt)
    assert update.loss != update.loss
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_rate_warms_up() -> None:
    model = tiny()
    engine = LockStepEngine(model, Vocabulary())  # type: ignore[arg-type]
    config = CONFIG.model_copy(update={"warmup_steps": 4})
    trainer = PolicyTrainer(model, config, engine.forbidden_V)
    trainer.update(episodes(sample(engine, 0))[0])
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(CONFIG.learning_rate / 2)


def test_a_restored_trainer_goes_on_bit_by_bit() -> None:
    finals: list[dict[str, torch.Tensor]] = []
    for interrupted in (False, True):
        model = tiny()
        engine = LockStepEngine(model, Vocabulary())  # type: ignore[arg-type]
        trainer = PolicyTrainer(model, CONFIG, engine.forbidden_V)
        trainer.update(episodes(sample(engine, 0))[0])
        if interrupted:
            saved = {name: tensor.clone() for name, tensor in trainer.tensors().items()}
            model = tiny(seed=9)
            engine = LockStepEngine(model, Vocabulary())  # type: ignore[arg-type]
            trainer = PolicyTrainer(model, CONFIG, engine.forbidden_V)
            trainer.restore(saved, updates=2)
        trainer.update(episodes(sample(engine, 1))[0])
        finals.append(trainer.tensors())
    assert finals[0].keys() == finals[1].keys()
    assert all(torch.equal(finals[0][name], finals[1][name]) for name in finals[0])
