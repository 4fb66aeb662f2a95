"""A model that was really taught a few tool-using tasks, with everything a stage reads around it.

A byte-level tokenizer without merges, a model of a few thousand weights, and conversations it
learns by heart in seconds: enough for rollouts that call tools, succeed and fail.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch.nn import functional as F

from components.agents.conversation import Conversation, Message, ToolCall, encode
from components.artifacts.types import (
    DOMAINS,
    Artifact,
    Checkpoint,
    Tasks,
    Tokenizer,
    TokenShards,
)
from components.contract import Resources, StageContext
from components.model.config import ModelConfig
from components.model.transformer import YoutuModel, initialize
from components.model.weights import save_checkpoint
from components.tokenizer.contract import TextTokenizer, build, load_tokenizer
from components.tracking.journal import Journal

T = TypeVar("T", bound=Artifact)


def shape(vocab_size: int) -> ModelConfig:
    return ModelConfig(
        vocab_size=vocab_size,
        hidden=48,
        layers=2,
        heads=2,
        q_rank=24,
        kv_rank=24,
        nope_dim=12,
        rope_dim=12,
        v_dim=24,
        mlp=96,
        rope_base=500.0,
        max_positions=160,
    )


def task(number: int, split: str = "rl") -> dict[str, Any]:
    """Ask for `number` + 1 through the calculator."""
    expression = f"{number}+1"
    return {
        "id": f"calculator-{number}",
        "family": "calculator",
        "environment": "calculator",
        "split": split,
        "question": expression,
        "answer": str(number + 1),
        "source": expression,
        "world": {},
        "steps": [{"name": "calc", "arguments": {"e": expression}}],
    }


def solution(asked: dict[str, Any], answer: str | None = None) -> Conversation:
    call = ToolCall("calc", asked["steps"][0]["arguments"])
    return Conversation(
        (
            Message("user", asked["question"]),
            Message("assistant", tool_calls=(call,)),
            Message("tool", asked["answer"]),
            Message("assistant", asked["answer"] if answer is None else answer),
        )
    )


def teach(
    model: YoutuModel,
    tokenizer: TextTokenizer,
    conversations: Sequence[Conversation],
    *,
    steps: int = 150,
) -> None:
    """Learn conversations by heart; loss where an assistant speaks."""
    encoded = [encode(conversation, tokenizer) for conversation in conversations]
    width = max(len(ids) for ids, _ in encoded)
    tokens = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in encoded])
    mask = torch.tensor([mask + [0] * (width - len(mask)) for _, mask in encoded]).bool()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)
    for _ in range(steps):
        logits = model(tokens[:, :-1])
        loss = F.cross_entropy(logits[mask[:, 1:]], tokens[:, 1:][mask[:, 1:]])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@dataclass(frozen=True)
class SmallAgent:
    """Hold a taught model's artifacts; `tasks` is what it was taught."""

    checkpoint: Checkpoint
    tokenizer: Tokenizer
    tasks: Tasks
    shards: TokenShards
    asked: list[dict[str, Any]]

    @property
    def text_tokenizer(self) -> TextTokenizer:
        return load_tokenizer(self.tokenizer.path)


def artifact(kind: type[T], path: Path, step: str) -> T:
    path.mkdir(parents=True, exist_ok=True)
    return kind(path, step, step[0] * 64, step[-1] * 64)


def small_agent(
    directory: Path, *, wrong_share: float = 0.0, number_of_tasks: int = 4
) -> SmallAgent:
    """Teach a model; in `wrong_share` of its lessons the final answer is wrong."""
    torch.manual_seed(0)
    made = artifact(Tokenizer, directory / "tokenizer", "tokenizer")
    build(made.path)
    tokenizer = load_tokenizer(made.path)
    asked = [task(number) for number in range(3, 3 + number_of_tasks)]
    model = YoutuModel(shape(tokenizer.vocab_size))
    initialize(model, seed=0)
    lessons = 4
    wrong = round(lessons * wrong_share)
    conversations = [
        solution(one, "0" if lesson < wrong else None) for one in asked for lesson in range(lessons)
    ]
    teach(model, tokenizer, conversations)
    checkpoint = artifact(Checkpoint, directory / "checkpoint", "assistant")
    save_checkpoint(
        model, checkpoint.path, tokenizer_digest=tokenizer.digest, tokens_seen=1000, steps=10
    )
    return SmallAgent(
        checkpoint, made, _tasks(directory, asked), _shards(directory, tokenizer), asked
    )


def _tasks(directory: Path, asked: list[dict[str, Any]]) -> Tasks:
    tasks = artifact(Tasks, directory / "tasks", "tasks")
    for split in ("rl", "dev", "test"):
        lines = [json.dumps(one | {"split": split}) for one in asked]
        tasks.split(split).write_text("\n".join(lines) + "\n")
    benchmarks: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        "multiple_choice": lambda one: {
            "prompt": one["question"],
            "choices": [" a", " b"],
            "answer": 0,
        },
        "function_call": lambda one: {
            "family": one["family"],
            "messages": [Message("user", one["question"]).to_json()],
            "answer": one["steps"][0],
        },
        "planning": lambda one: {
            "family": one["family"],
            "messages": [Message("user", one["question"]).to_json()],
            "choices": [
                Message("assistant", "0").to_json(),
                solution(one).messages[1].to_json(),
            ],
            "answer": 1,
        },
    }
    tasks.world.mkdir()
    tasks.benchmark("planning").parent.mkdir()
    for name, make in benchmarks.items():
        items = [{"id": f"{name}-{one['id']}", "split": "test", **make(one)} for one in asked]
        tasks.benchmark(name).write_text("".join(json.dumps(item) + "\n" for item in items))
    return tasks


def _shards(directory: Path, tokenizer: TextTokenizer) -> TokenShards:
    shards = artifact(TokenShards, directory / "shards", "shards")
    (shards.path / "heldout").mkdir()
    texts = ["The sea is wide.", "Waves run to the shore, and back.", "Salt"]
    documents = [[tokenizer.bos, *tokenizer.encode(text)] for text in texts]
    sizes = [len(text.encode()) for text in texts]
    offsets = np.cumsum([0, *(len(document) for document in documents)])
    for domain in DOMAINS:
        file = shards.path / "heldout" / domain
        np.concatenate(documents).astype(np.uint16).tofile(f"{file}.tokens")
        np.save(f"{file}.offsets.npy", offsets.astype(np.int64))
        np.save(f"{file}.bytes.npy", np.array(sizes, np.int64))
    counts = {"documents": 3, "tokens": int(offsets[-1]), "bytes": sum(sizes)}
    index = {
        "dtype": "uint16",
        "vocab_size": tokenizer.vocab_size,
        "splits": {"heldout": dict.fromkeys(DOMAINS, counts), "train": {}},
        "tokenizer_digest": tokenizer.digest,
    }
    (shards.path / "index.json").write_text(json.dumps(index))
    return shards


def context(
    directory: Path,
    *,
    resources: Resources | None = None,
    earlier: tuple[Path, ...] = (),
    stop_requested: Callable[[], bool] = lambda: False,
) -> StageContext:
    for name in ("out", "resume", "scratch"):
        (directory / name).mkdir(parents=True)
    return StageContext(
        out=directory / "out",
        resume=directory / "resume",
        earlier_resumes=earlier,
        scratch=directory / "scratch",
        journal=Journal(directory / "journal"),
        resources=resources or Resources(threads=1),
        step="tested",
        stop_requested=stop_requested,
    )
