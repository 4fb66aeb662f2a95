"""`two_billion`: the paper's model and token counts (Youtu-LLM, arXiv 2512.24618).

Marks on every line, as in our fact sheet: `paper` is stated by the authors or by two independent
readings of the paper; `inferred` is arithmetic on those; `ours` is our choice where the paper is
silent, which holds for every optimizer setting, batch, and amount of post-training.
"""

from __future__ import annotations

from components.agentic_midtraining.config import AgenticMidtrainConfig
from components.contract import Resources
from components.corpus.config import CorpusConfig
from components.evaluation.config import EvaluateConfig
from components.export.config import ExportConfig
from components.model.config import ModelConfig
from components.pretraining.config import PretrainConfig
from components.rl.config import RlConfig
from components.sft.config import SftConfig
from components.shards.config import ShardsConfig
from components.tasks.config import SplitCounts, TasksConfig
from components.tokenizer.config import TokenizerConfig
from components.trajectories.config import TrajectoriesConfig
from flows.recipe import Recipe

MODEL = ModelConfig()  # paper: 32 layers, 2048 wide, MLA, 1.96B weights
BILLION = 10**9
LONGEST = 131_072  # paper
SILENT = {  # ours, all of it
    "batch_tokens": 4 * 2**20,
    "learning_rate": 4e-4,
    "matrix_learning_rate": 4e-3,
    "weight_decay": 0.1,
    "warmup": 0.001,
    "heldout_tokens": 10_000_000,
    "heldout_evaluations": 100,
}


def two_billion() -> Recipe:
    """Return the recipe at the paper's size; this needs a cluster."""
    return Recipe(
        name="two_billion",
        corpus=CorpusConfig(),  # ours: the paper's corpus is not public; lay your sources over this
        tokenizer=TokenizerConfig(vocab_size=MODEL.vocab_size),  # paper: 128,256
        tasks=TasksConfig(
            phrasing="words",  # ours
            counts=SplitCounts(midtrain=2_000_000, sft=200_000, rl=100_000, dev=2_000, test=8_000),
            entries=1_000_000,  # ours
        ),
        shards=ShardsConfig(),
        **_phases(),
        trajectories=TrajectoriesConfig(
            midtrain=40_000_000,  # inferred: 200B tokens (paper) of about 5,000 each
            sft=200_000,  # ours
            describe_tools=True,  # ours
            max_tokens=LONGEST,
        ),
        agentic_base=AgenticMidtrainConfig.model_validate(
            {
                **SILENT,
                "tokens": 340 * BILLION,  # inferred: 200B trajectories at 60 %
                "trajectory_share": 0.6,  # paper: about 60 %
                "sequence_length": LONGEST,  # inferred
                "learning_rate": 4e-5,  # ours; the paper says only: decays much further
                "matrix_learning_rate": 4e-4,
                "warmup": 0.0,
                "decay": 1.0,
            }
        ),
        assistant=SftConfig(  # ours
            batch_tokens=2**20,
            sequence_length=32_768,
            learning_rate=2e-5,
            matrix_learning_rate=2e-4,
        ),
        agent=RlConfig(  # ours
            steps=1_000,
            groups_per_step=128,
            learning_rate=1e-6,
            max_turns=32,
            max_tokens=32_768,
            max_turn_tokens=4_096,
            describe_tools=True,
        ),
        text_scores=_exam(episodes=1_000),
        agent_scores=_exam(episodes=8_000),
        release=ExportConfig(
            name="strata-2b",
            dtype="bfloat16",  # paper
            describe_tools=True,
        ),
        resources=_resources(),
    )


def _phases() -> dict[str, PretrainConfig]:
    """Return the three phases of pre-training."""
    high = PretrainConfig.model_validate(
        {
            "model": MODEL,
            **SILENT,
            "decay": 0.0,
            "tokens": 8_160 * BILLION,  # paper: 8.16T
            "sequence_length": 8_192,  # paper
            "mixture": {"general": 0.75, "stem": 0.1, "code": 0.15},  # paper: about 75 % general
        }
    )
    stem = high.model_copy(
        update={
            "tokens": 1_840 * BILLION,  # inferred: the first two phases take about 10T
            "mixture": {"general": 0.4, "stem": 0.25, "code": 0.35},  # paper: STEM and code 60 %
            "warmup": 0.0,
        }
    )
    falling = stem.model_copy(
        update={
            "tokens": 500 * BILLION,  # inferred: the rest of 10.84T
            "growth": ((0.4, 32_768), (0.8, LONGEST)),  # paper: 8k, 32k, 128k; shares ours
            "decay": 1.0,  # paper: the rate decays in this phase; the shape is ours
        }
    )
    return {"commonsense": high, "stem": stem, "long_context": falling}


def _exam(*, episodes: int) -> EvaluateConfig:
    return EvaluateConfig(  # ours
        episodes=episodes,
        sampled_episodes=episodes,
        text_tokens=10_000_000,
        context=8_192,
        max_turns=32,
        max_tokens=32_768,
        max_turn_tokens=4_096,
        describe_tools=True,
    )


def _resources() -> dict[str, Resources]:
    """Return where the steps are made: ours, the paper names no hardware."""
    data = Resources(memory_gb=512, timeout_hours=240)
    cluster = Resources(
        device="cuda",
        precision="bf16",
        nodes=64,
        processes=8,
        micro_batch=1,
        memory_gb=1024,
        timeout_hours=2000,
    )
    one_node = cluster.model_copy(update={"nodes": 1, "timeout_hours": 48.0})
    return {
        "default": cluster,
        **dict.fromkeys(("corpus", "tokenizer", "tasks", "shards", "trajectories"), data),
        "agent": cluster.model_copy(update={"nodes": 8, "precision": "fp16"}),  # paper: FP16 in RL
        "scores": one_node,
        "release": one_node,
    }
