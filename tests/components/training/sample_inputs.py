"""Inputs small enough to train on within a second: a byte-level tokenizer, shards, conversations,
and a context to run a stage in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.agents.conversation import Conversation, Message, ToolCall
from components.artifacts.types import (
    DOMAINS,
    Checkpoint,
    Tokenizer,
    TokenShards,
    Trajectories,
)
from components.contract import Resources, StageContext
from components.model.config import ModelConfig
from components.tokenizer.contract import build, load_tokenizer
from components.tracking.journal import Journal, read_journal

WORDS = ("red", "green", "blue", "one", "two", "three", "is", "was", "and", "the", "a", "cat")


@dataclass(frozen=True)
class SampleInputs:
    """Hold the artifacts that training reads."""

    tokenizer: Tokenizer
    shards: TokenShards
    trajectories: Trajectories
    shape: ModelConfig


def make_inputs(directory: Path, *, tokens: int = 6_000, conversations: int = 40) -> SampleInputs:
    """Write tokenizer, shards and trajectories under `directory`."""
    build(directory / "tokenizer")
    tokenizer = load_tokenizer(directory / "tokenizer")
    draw = np.random.default_rng(0)
    splits: dict[str, dict[str, dict[str, int]]] = {"train": {}, "heldout": {}}
    for split, size in (("train", tokens), ("heldout", 800)):
        (directory / "shards" / split).mkdir(parents=True)
        for domain in DOMAINS:
            documents: list[list[int]] = []
            sizes: list[int] = []
            while sum(map(len, documents)) < size:
                text = " ".join(draw.choice(WORDS, 20))
                documents.append([tokenizer.bos, *tokenizer.encode(text)])
                sizes.append(len(text.encode()))
            stem = directory / "shards" / split / domain
            np.concatenate(documents).astype(np.uint16).tofile(stem.with_suffix(".tokens"))
            offsets = np.cumsum([0, *map(len, documents)]).astype(np.int64)
            np.save(f"{stem}.offsets.npy", offsets)
            np.save(f"{stem}.bytes.npy", np.array(sizes))
            splits[split][domain] = {
                "documents": len(documents),
                "tokens": int(offsets[-1]),
                "bytes": sum(sizes),
            }
    index = {
        "dtype": "uint16",
        "vocab_size": tokenizer.vocab_size,
        "splits": splits,
        "tokenizer_digest": tokenizer.digest,
    }
    (directory / "shards" / "index.json").write_text(json.dumps(index))
    _write_conversations(directory / "trajectories", conversations)
    shape = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        hidden=32,
        layers=2,
        heads=2,
        q_rank=24,
        kv_rank=16,
        nope_dim=8,
        rope_dim=8,
        v_dim=16,
        mlp=48,
        rope_base=1000.0,
        max_positions=256,
    )
    return SampleInputs(
        Tokenizer(directory / "tokenizer", "tokenizer", "k", "d"),
        TokenShards(directory / "shards", "shards", "k", "d"),
        Trajectories(directory / "trajectories", "trajectories", "k", "d"),
        shape,
    )


def _write_conversations(directory: Path, count: int) -> None:
    directory.mkdir()
    for split in ("midtrain", "sft"):
        lines: list[str] = []
        for number in range(count):
            wrong = Message("assistant", tool_calls=(ToolCall("c", {"e": "?"}),), trained=False)
            call = Message("assistant", tool_calls=(ToolCall("c", {"e": f"{number}+1"}),))
            asked = (Message("user", f"{number}+1?"), wrong, Message("tool", "error"), call)
            answer = Message("assistant", str(number + 1))
            messages = (*asked, Message("tool", str(number + 1)), answer)
            lines.append(json.dumps(Conversation(messages, id=f"{split}-{number}").to_json()))
        (directory / f"{split}.jsonl").write_text("\n".join(lines) + "\n")


def make_context(
    directory: Path,
    *,
    earlier: tuple[Path, ...] = (),
    stop_requested: Callable[[], bool] = lambda: False,
    resources: Resources | None = None,
) -> StageContext:
    """Return the context of one attempt that lives under `directory`."""
    out = directory / "files"
    out.mkdir(parents=True)
    return StageContext(
        out=out,
        resume=directory / "resume",
        earlier_resumes=earlier,
        scratch=directory / "scratch",
        journal=Journal(directory / "journal"),
        resources=resources or Resources(threads=1),
        step="sample",
        stop_requested=stop_requested,
    )


def checkpoint(context: StageContext, step: str = "before") -> Checkpoint:
    """Return what a stage wrote as an artifact."""
    return Checkpoint(context.out, step, "k", "d")


def digests(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of every file."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.iterdir())
    }


class StopAfter:
    """Ask for a stop at the n-th poll."""

    def __init__(self, polls: int) -> None:
        self.left = polls

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0


def curve(context: StageContext, name: str) -> Mapping[int, float]:
    """Return one metric of a journal by step."""
    return {
        record["step"]: record["values"][name]
        for record in read_journal(context.journal.directory)
        if record["kind"] == "metric" and name in record["values"]
    }
