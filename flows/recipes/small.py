"""`small`: one GPU, about a day. The tasks of `toy` with free phrasing and word keys.

Every figure is ours. 0.35B weights on 6.3B tokens are 1.4e19 FLOPs: about eleven hours of an H200
at 35 % of its bf16 peak, and as long again for trajectories, RL and scores.
"""

from __future__ import annotations

from components.contract import Resources
from components.corpus.config import DEFAULT_SOURCES
from flows.recipe import Recipe
from flows.recipes.toy import toy

VOCABULARY = 32_768
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden": 1024,
    "layers": 22,
    "heads": 8,
    "q_rank": 768,
    "kv_rank": 256,
    "nope_dim": 128,
    "rope_dim": 64,
    "v_dim": 128,
    "mlp": 3072,
    "rope_base": 500_000.0,
    "max_positions": 16_384,
}
BATCH = {"batch_tokens": 524_288, "matrix_learning_rate": 0.01, "learning_rate": 1e-3}


def small() -> Recipe:
    """Return the recipe for a single GPU."""
    phase = {"model": SHAPE, **BATCH, "heldout_tokens": 1_000_000}
    dialogue = {"describe_tools": True, "max_tokens": 2048, "max_turn_tokens": 512, "max_turns": 8}
    taught = {**BATCH, "batch_tokens": 262_144, "sequence_length": 4096}
    on_gpu = Resources(device="cuda", precision="bf16", micro_batch=16, memory_gb=96)
    return toy().but(
        name="small",
        corpus={"sources": DEFAULT_SOURCES},
        tokenizer={"vocab_size": VOCABULARY, "sample_bytes": 500_000_000},
        tasks={
            "phrasing": "words",
            "counts": {"midtrain": 60_000, "sft": 8_000, "rl": 20_000, "dev": 1_000, "test": 4_000},
            "entries": 20_000,
        },
        commonsense={**phase, "tokens": 4_000_000_000, "sequence_length": 2048},
        stem={**phase, "tokens": 1_500_000_000, "sequence_length": 2048},
        long_context={
            **phase,
            "tokens": 500_000_000,
            "sequence_length": 2048,
            "growth": ((0.4, 8192), (0.8, 16_384)),
        },
        trajectories={
            "midtrain": 300_000,
            "sft": 8_000,
            "max_tokens": 4096,
            "describe_tools": True,
        },
        agentic_base={**taught, "tokens": 300_000_000, "trajectory_share": 0.6},
        assistant={**taught, "epochs": 3.0, "learning_rate": 3e-4, "matrix_learning_rate": 2e-3},
        agent={**dialogue, "steps": 300, "groups_per_step": 64, "learning_rate": 1e-5},
        text_scores={**dialogue, "context": 2048, "text_tokens": 1_000_000},
        agent_scores={**dialogue, "context": 2048, "episodes": 4_000, "sampled_episodes": 4_000},
        release={"name": "strata-small", "dtype": "bfloat16", "describe_tools": True},
        resources={
            "default": on_gpu,
            **{
                step: Resources(memory_gb=64) for step in ("corpus", "tokenizer", "tasks", "shards")
            },
            "trajectories": Resources(memory_gb=32),
            "agent": on_gpu.model_copy(update={"precision": "fp16"}),
        },
    )
