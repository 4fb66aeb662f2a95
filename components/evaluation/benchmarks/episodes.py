"""Whole episodes: a task is solved when its final answer is right after really running the
calls."""

from __future__ import annotations

from collections.abc import Sequence

from components.agents.rollout import Rollout
from components.evaluation.items import Item


def score_episodes(rollouts: Sequence[Rollout], score: str) -> list[Item]:
    """Return one outcome a rollout; those whose machinery failed are left out, not counted
    wrong."""
    return [
        Item(score, episode.task_id, float(episode.correct), episode.family)
        for episode in rollouts
        if not episode.infrastructure
    ]


def score_parsed(rollouts: Sequence[Rollout], score: str) -> list[Item]:
    """Return whether an episode called a tool at least once and every call could be read."""
    return [
        Item(
            score,
            episode.task_id,
            float(episode.calls > 0 and episode.malformed_calls == 0),
            episode.family,
        )
        for episode in rollouts
        if not episode.infrastructure
    ]
