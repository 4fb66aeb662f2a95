"""`ci`: every step with the code of `toy`, in under two minutes of steps on two cores.

It proves the road, not the model: losses fall and calls parse. RL is a smoke test, no gain.
"""

from __future__ import annotations

from flows.recipe import Recipe
from flows.recipes.toy import toy


def ci() -> Recipe:
    """Return the recipe that continuous integration runs."""
    scored = {"multiple_choice": 60, "function_call": 60, "planning": 60, "text_tokens": 8_000}
    text = {"batch_tokens": 2048, "heldout_tokens": 4_096}
    small_sources = [
        source.model_copy(update={"max_bytes": 1_000_000}) for source in toy().corpus.sources
    ]
    return toy().but(
        name="ci",
        corpus={"sources": small_sources},
        tokenizer={"sample_bytes": 2_000_000},
        tasks={
            "counts": {"midtrain": 2000, "sft": 400, "rl": 300, "dev": 100, "test": 150},
            "benchmarks": {"multiple_choice": 60, "function_call": 60, "planning": 60},
        },
        commonsense={**text, "tokens": 40_000},
        stem={**text, "tokens": 40_000},
        long_context={**text, "tokens": 20_000},
        trajectories={"midtrain": 3000, "sft": 400},
        agentic_base={"tokens": 900_000},
        assistant={"epochs": 2.0},
        agent={"steps": 6, "groups_per_step": 8},
        text_scores={"episodes": 30, "sampled_episodes": 30, **scored},
        agent_scores={"episodes": 120, "sampled_episodes": 60, "recovery": 30, **scored},
        release={"name": "strata-ci"},
    )
