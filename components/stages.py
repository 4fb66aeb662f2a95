"""The table of all stages: the only registry. Importing it brings in no torch, no server and no
data engine.
"""

from __future__ import annotations

from components.agentic_midtraining.config import AgenticMidtrainConfig, AgenticMidtrainInputs
from components.artifacts.types import (
    Checkpoint,
    Corpus,
    ReleasedModel,
    Scores,
    Tasks,
    Tokenizer,
    TokenShards,
    Trajectories,
)
from components.contract import Stage
from components.corpus.config import CorpusConfig, CorpusInputs
from components.evaluation.config import EvaluateConfig, EvaluateInputs
from components.export.config import ExportConfig, ExportInputs
from components.pretraining.config import PretrainConfig, PretrainInputs
from components.rl.config import RlConfig, RlInputs
from components.sft.config import SftConfig, SftInputs
from components.shards.config import ShardsConfig, ShardsInputs
from components.tasks.config import TasksConfig, TasksInputs
from components.tokenizer.config import TokenizerConfig, TokenizerInputs
from components.trajectories.config import TrajectoriesConfig, TrajectoriesInputs

CORPUS = Stage(
    "corpus",
    CorpusConfig,
    needs=CorpusInputs,
    makes=Corpus,
    run="components.corpus.stage:run",
    packages=("daft", "pyarrow"),
    sources="components.corpus.sources:revisions",
)
TOKENIZER = Stage(
    "tokenizer",
    TokenizerConfig,
    needs=TokenizerInputs,
    makes=Tokenizer,
    run="components.tokenizer.stage:run",
    packages=("rustbpe", "tokenizers"),
)
TASKS = Stage(
    "tasks",
    TasksConfig,
    needs=TasksInputs,
    makes=Tasks,
    run="components.tasks.stage:run",
)
SHARDS = Stage(
    "shards",
    ShardsConfig,
    needs=ShardsInputs,
    makes=TokenShards,
    run="components.shards.stage:run",
    packages=("tokenizers", "numpy"),
)
PRETRAIN = Stage(
    "pretrain",
    PretrainConfig,
    needs=PretrainInputs,
    makes=Checkpoint,
    run="components.pretraining.stage:run",
    packages=("torch",),
)
TRAJECTORIES = Stage(
    "trajectories",
    TrajectoriesConfig,
    needs=TrajectoriesInputs,
    makes=Trajectories,
    run="components.trajectories.stage:run",
    packages=("tokenizers",),
)
AGENTIC_MIDTRAIN = Stage(
    "agentic_midtrain",
    AgenticMidtrainConfig,
    needs=AgenticMidtrainInputs,
    makes=Checkpoint,
    run="components.agentic_midtraining.stage:run",
    packages=("torch", "tokenizers"),
)
SFT = Stage(
    "sft",
    SftConfig,
    needs=SftInputs,
    makes=Checkpoint,
    run="components.sft.stage:run",
    packages=("torch", "tokenizers"),
)
RL = Stage(
    "rl",
    RlConfig,
    needs=RlInputs,
    makes=Checkpoint,
    run="components.rl.stage:run",
    packages=("torch", "tokenizers"),
)
EVALUATE = Stage(
    "evaluate",
    EvaluateConfig,
    needs=EvaluateInputs,
    makes=Scores,
    run="components.evaluation.stage:run",
    packages=("torch", "tokenizers"),
)
EXPORT = Stage(
    "export",
    ExportConfig,
    needs=ExportInputs,
    makes=ReleasedModel,
    run="components.export.stage:run",
    packages=("torch", "transformers", "safetensors"),
)

STAGES = {
    stage.name: stage
    for stage in (
        CORPUS,
        TOKENIZER,
        TASKS,
        SHARDS,
        PRETRAIN,
        TRAJECTORIES,
        AGENTIC_MIDTRAIN,
        SFT,
        RL,
        EVALUATE,
        EXPORT,
    )
}
TABLE = "components.stages:STAGES"
"""Where `execute` finds this table."""
