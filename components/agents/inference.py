"""Generate many conversations in lock step.

All rows of a batch stand at one position; at each position a row either takes a token that is
already known (its prompt, a tool's response) or samples one. So rows of any length and any number
of turns share a batch without padding, and a tool call costs the others nothing. Left out: paged
caches and continuous batching, which pay when requests arrive one by one.

The noise of a sampled token depends on (seed, row key, position) only. A row therefore samples the
same tokens whichever rows stand beside it, up to the rounding of matrix products.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from components.model.attention import LatentCache
from components.model.generate import next_hidden
from components.model.transformer import YoutuModel

if TYPE_CHECKING:
    from components.tokenizer.contract import TextTokenizer

SAMPLED_SPECIAL = ("<|end_of_text|>", "<think>", "</think>", "<tool_call>", "</tool_call>")
"""Special tokens an assistant writes; all others come from the template alone."""

KEPT_SHARE = 0.8
"""Finished rows stay in the batch until fewer than this share of it is unfinished."""


@dataclass
class Row:
    """Hold one growing sequence: `ids`, and for each of them whether and how likely it was sampled.

    `key` names the row's noise, for instance task id and sample index.
    """

    key: str
    ids: list[int]
    sampled: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])
    turn_tokens: int = 0
    finished: bool = False

    def __post_init__(self) -> None:
        missing = len(self.ids) - len(self.sampled)
        self.sampled += [0] * missing
        self.logprobs += [0.0] * missing

    def force(self, ids: Sequence[int]) -> None:
        """Append tokens the model did not choose, and begin a new turn."""
        self.ids += ids
        self.sampled += [0] * len(ids)
        self.logprobs += [0.0] * len(ids)
        self.turn_tokens = 0

    def take(self, token: int, logprob: float) -> None:
        """Append a token the model chose."""
        self.ids.append(token)
        self.sampled.append(1)
        self.logprobs.append(logprob)
        self.turn_tokens += 1


@dataclass(frozen=True)
class Sampling:
    """Say how rows are continued; temperature 0 is greedy."""

    stop: frozenset[int]
    """Tokens that end a turn."""
    max_tokens: int
    """Length at which a row is finished, prompt included."""
    max_turn_tokens: int
    """Sampled tokens of one turn after which a row is finished."""
    temperature: float = 0.0
    seed: int = 0


Respond = Callable[[list[Row]], list[list[int] | None]]
"""Receive rows that sampled a stop token; return the tokens each goes on with, or None to end."""


class Engine(Protocol):
    """Continue rows in place until each is finished."""

    def generate(self, rows: Sequence[Row], respond: Respond, sampling: Sampling) -> None: ...


class LockStepEngine:
    """Sample from a model in this process; on a CPU or one GPU."""

    def __init__(self, model: YoutuModel, tokenizer: TextTokenizer, *, max_rows: int = 256) -> None:
        self.model = model
        self.max_rows = max_rows
        self.device = next(model.parameters()).device
        self.forbidden_V = forbidden_tokens(tokenizer, model.config.vocab_size).to(self.device)

    @torch.no_grad()
    def generate(self, rows: Sequence[Row], respond: Respond, sampling: Sampling) -> None:
        """Continue `rows` in place, at most `max_rows` at a time, longest prompts together."""
        capacity = min(sampling.max_tokens, self.model.config.max_positions)
        training = self.model.training
        self.model.eval()
        waiting = sorted((row for row in rows if not row.finished), key=lambda row: len(row.ids))
        for start in range(0, len(waiting), self.max_rows):
            self._wave(waiting[start : start + self.max_rows], respond, sampling, capacity)
        self.model.train(training)

    def _wave(self, rows: list[Row], respond: Respond, sampling: Sampling, capacity: int) -> None:
        for row in rows:
            row.finished = len(row.ids) >= capacity
        held = [row for row in rows if not row.finished]
        if not held:
            return
        weight = next(self.model.parameters())
        cache = LatentCache(self.model.config, len(held), capacity, self.device, weight.dtype)
        noise = Noise(sampling.seed, held)
        fed = 0
        while live := [index for index, row in enumerate(held) if not row.finished]:
            if len(live) < KEPT_SHARE * len(held):
                cache.select(torch.tensor(live, device=self.device))
                held = [held[index] for index in live]
                noise = Noise(sampling.seed, held)
            # Tokens known for every row go through in one piece; mostly that is the prompts' part.
            block = min(len(row.ids) for row in held if not row.finished) - fed
            tokens = [(row.ids[fed : fed + block] + [0] * block)[:block] for row in held]
            hidden_BH = next_hidden(self.model, torch.tensor(tokens, device=self.device), cache)
            fed += block
            due = [
                index for index, row in enumerate(held) if not row.finished and len(row.ids) == fed
            ]
            chosen, logprobs = self._sample(hidden_BH, due, noise.at(fed, due), sampling)
            stopped: list[Row] = []
            for index, token, logprob in zip(due, chosen, logprobs, strict=True):
                row = held[index]
                row.take(token, logprob)
                if token in sampling.stop:
                    stopped.append(row)
                row.finished = len(row.ids) >= capacity or (
                    token not in sampling.stop and row.turn_tokens >= sampling.max_turn_tokens
                )
            self._go_on(stopped, respond, capacity)

    def _sample(
        self, hidden_BH: torch.Tensor, due: list[int], uniform: np.ndarray, sampling: Sampling
    ) -> tuple[list[int], list[float]]:
        if not due:
            return [], []
        picked = hidden_BH if len(due) == len(hidden_BH) else hidden_BH[due]
        logits_BV = self.model.head(picked).float()
        logits_BV.masked_fill_(self.forbidden_V, float("-inf"))
        if sampling.temperature > 0:
            logits_BV /= sampling.temperature
            chosen_B = inverse_cdf(logits_BV, torch.from_numpy(uniform).to(self.device))
        else:
            chosen_B = logits_BV.argmax(dim=-1)
        at_B = logits_BV.gather(1, chosen_B[:, None]).squeeze(1)
        logprobs_B = at_B - logits_BV.logsumexp(dim=-1)
        return chosen_B.tolist(), logprobs_B.tolist()

    def _go_on(self, stopped: list[Row], respond: Respond, capacity: int) -> None:
        if not stopped:
            return
        for row, forced in zip(stopped, respond(stopped), strict=True):
            if forced is None or len(row.ids) + len(forced) >= capacity:
                row.finished = True
            else:
                row.force(forced)


def forbidden_tokens(tokenizer: TextTokenizer, vocab_size: int) -> torch.Tensor:
    """Return a mask [V], true for what an assistant may not write: template tokens, unused ids."""
    forbidden_V = torch.zeros(vocab_size, dtype=torch.bool)
    forbidden_V[tokenizer.vocab_size :] = True
    for name, token in tokenizer.special.items():
        if name not in SAMPLED_SPECIAL:
            forbidden_V[token] = True
    return forbidden_V


def inverse_cdf(logits_BV: torch.Tensor, uniform_B: torch.Tensor) -> torch.Tensor:
    """Draw one token a row by inverting its distribution function at `uniform_B` in [0, 1)."""
    mass_BV = (logits_BV - logits_BV.amax(dim=-1, keepdim=True)).exp().double().cumsum(dim=-1)
    # The factor keeps the product below the total, where only forbidden tokens may follow.
    point_B1 = (uniform_B * (1 - 2.0**-40))[:, None] * mass_BV[:, -1:]
    return torch.searchsorted(mass_BV, point_B1, right=True).squeeze(1)


class Noise:
    """Give each row a uniform number at each position: SplitMix64 of (seed, key) and position.

    Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", figure 17.
    """

    def __init__(self, seed: int, rows: Sequence[Row]) -> None:
        digests = (hashlib.blake2b(f"{seed}\0{row.key}".encode(), digest_size=8) for row in rows)
        self._keys = np.array([struct.unpack("<Q", d.digest())[0] for d in digests], np.uint64)

    def at(self, position: int, rows: list[int]) -> np.ndarray:
        """Return float64 [len(rows)] in [0, 1)."""
        step = np.uint64(position * 0x9E3779B97F4A7C15 % 2**64)
        mixed = self._keys[rows] + step
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
