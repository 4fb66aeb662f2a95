"""What one step's rollouts teach: rewards, advantages by group, and what to report of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from components.agents.rollout import Rollout
from components.rl.advantages import group_advantages
from components.rl.grpo import Episode


@dataclass(frozen=True)
class Experience:
    """Hold the episodes to train on and the counts of the step they come from."""

    episodes: list[Episode]
    groups: int
    live_groups: int
    valid: int
    """Rollouts whose tools worked; only they are rewarded and counted below."""
    rewards: float
    calls: int
    malformed_calls: int
    sampled_tokens: int
    infrastructure_failures: int

    @property
    def reward(self) -> float:
        """Mean reward of the valid rollouts."""
        return self.rewards / max(1, self.valid)

    @property
    def parsed_calls(self) -> float:
        """Share of calls that could be read; 0 where there was none."""
        return (self.calls - self.malformed_calls) / max(1, self.calls)

    def metrics(self) -> dict[str, float]:
        """Return what the journal gets of the sampling."""
        return {
            "rl/reward": self.reward,
            "rl/success": self.reward,
            "rl/live_groups": self.live_groups,
            "rl/live_group_share": self.live_groups / max(1, self.groups),
            "rl/parsed_calls": self.parsed_calls,
            "rl/infrastructure_failures": self.infrastructure_failures,
        }


def reward_of(rollout: Rollout) -> float:
    """Return 1 for a right final answer, else 0: nothing else can be verified (ours)."""
    return float(rollout.correct)


def experience(
    rollouts: Sequence[Rollout], *, group_size: int, normalize: bool = True
) -> Experience:
    """Compare the rollouts of each group; those of groups without spread are left out.

    Each run of `group_size` rollouts belongs to one prompt, as `rollout` returns them.
    """
    episodes: list[Episode] = []
    live = 0
    for start in range(0, len(rollouts), group_size):
        group = rollouts[start : start + group_size]
        assert len({rollout.task_id for rollout in group}) == 1, "a group has one prompt"
        learned = _episodes(group, normalize=normalize)
        live += bool(learned)
        episodes += learned
    valid = [rollout for rollout in rollouts if not rollout.infrastructure]
    return Experience(
        episodes=episodes,
        groups=-(-len(rollouts) // group_size),
        live_groups=live,
        valid=len(valid),
        rewards=sum(reward_of(rollout) for rollout in valid),
        calls=sum(rollout.calls for rollout in valid),
        malformed_calls=sum(rollout.malformed_calls for rollout in valid),
        sampled_tokens=sum(sum(rollout.mask) for rollout in rollouts),
        infrastructure_failures=len(rollouts) - len(valid),
    )


def _episodes(group: Sequence[Rollout], *, normalize: bool) -> list[Episode]:
    """Return the group's valid rollouts with their advantages; empty where it teaches nothing."""
    advantages = group_advantages(
        [reward_of(rollout) for rollout in group],
        [not rollout.infrastructure for rollout in group],
        normalize=normalize,
    )
    if advantages is None:
        return []
    return [
        Episode(rollout.ids, rollout.mask, rollout.logprobs, advantage)
        for rollout, advantage in zip(group, advantages, strict=True)
        if not rollout.infrastructure
    ]
