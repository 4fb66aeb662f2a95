"""`toy`: every step, real gains, under ten minutes on two cores.

The model has 0.66M weights; what it can learn in minutes is decided by the tokens it must copy, so
tasks use three-digit keys at the end of the question, each digit a token. Figures start from
measurements made before this project (2 cores, fp32).
"""

from __future__ import annotations

from components.agentic_midtraining.config import AgenticMidtrainConfig
from components.contract import Resources
from components.corpus.config import DEFAULT_SOURCES, CorpusConfig
from components.evaluation.config import EvaluateConfig
from components.export.config import ExportConfig
from components.model.config import ModelConfig
from components.pretraining.config import PretrainConfig
from components.rl.config import RlConfig
from components.sft.config import SftConfig
from components.shards.config import ShardsConfig
from components.tasks.config import BenchmarkCounts, SplitCounts, TasksConfig
from components.tokenizer.config import TokenizerConfig
from components.trajectories.config import TrajectoriesConfig
from flows.recipe import Recipe

VOCABULARY = 2048
"""4,096 halves the training speed of a model this small."""

MODEL = ModelConfig(
    vocab_size=VOCABULARY,
    hidden=128,
    layers=2,
    heads=4,
    q_rank=96,
    kv_rank=64,
    nope_dim=16,
    rope_dim=16,
    v_dim=32,
    mlp=352,
    rope_base=1_000.0,
    max_positions=512,
)

SOURCES = tuple(
    source.model_copy(update={"max_bytes": 1_000_000 if place == 0 else 4_000_000})
    for place, source in enumerate(DEFAULT_SOURCES)
)
"""A little of each; of WordNet, whose entries are a line each, what look-ups and choices need."""

TEXT_BATCH = 8_192
"""A model this small that has learned more text than these few steps teach it no longer learns to
copy keys in mid-training, which brings as much text again (docs/decisions/0003)."""


def toy() -> Recipe:
    """Return the recipe of the demo."""
    text = EvaluateConfig(episodes=250, sampled_episodes=250, recovery=0)
    return Recipe(
        name="toy",
        corpus=CorpusConfig(sources=SOURCES),
        tokenizer=TokenizerConfig(vocab_size=VOCABULARY, sample_bytes=8_000_000),
        tasks=TasksConfig(
            counts=SplitCounts(midtrain=6000, sft=600, rl=1600, dev=300, test=1200),
            benchmarks=BenchmarkCounts(multiple_choice=300, function_call=300, planning=300),
        ),
        shards=ShardsConfig(),
        commonsense=PretrainConfig(
            model=MODEL,
            tokens=80_000,
            batch_tokens=TEXT_BATCH,
            decay=0.0,
            mixture={"general": 0.75, "stem": 0.15, "code": 0.1},
        ),
        stem=PretrainConfig(
            model=MODEL,
            tokens=80_000,
            batch_tokens=TEXT_BATCH,
            warmup=0.0,
            decay=0.0,
            mixture={"general": 0.4, "stem": 0.3, "code": 0.3},
        ),
        long_context=PretrainConfig(
            model=MODEL,
            tokens=48_000,
            batch_tokens=TEXT_BATCH,
            warmup=0.0,
            decay=1.0,
            growth=((0.5, 512),),
            mixture={"general": 0.4, "stem": 0.3, "code": 0.3},
        ),
        trajectories=TrajectoriesConfig(
            midtrain=12_000, sft=600, sft_error_rate=0.2, max_tokens=256
        ),
        agentic_base=AgenticMidtrainConfig(tokens=1_000_000, trajectory_share=0.8),
        assistant=SftConfig(epochs=3.0),
        agent=RlConfig(
            steps=40, groups_per_step=32, group_size=8, learning_rate=3e-4, recovery_share=0.2
        ),
        text_scores=text,
        agent_scores=text.model_copy(
            update={"episodes": 1000, "sampled_episodes": 1000, "recovery": 250}
        ),
        release=ExportConfig(name="strata-toy"),
        resources={"default": Resources(threads=2)},
    )
