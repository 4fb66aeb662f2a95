"""The pipeline: which steps there are, of which stage, and what each is made of.

This is the diagram. It has no side effects: `step` decides what a line means. Walked with a
planning `step` it gives the plan, with a submitting one it is the run. Variables are artifacts.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from components import stages
from components.contract import Stage, StageConfig
from flows.recipe import Recipe

A = TypeVar("A")


class Step(Protocol[A]):
    """Plan or submit one step; return what stands for its artifact."""

    def __call__(
        self, name: str, stage: Stage, config: StageConfig, **inputs: A | tuple[A, ...]
    ) -> A:
        """Take the step `name`; `inputs` carry the names of the stage's inputs class."""
        ...


def train_agentic_llm(recipe: Recipe, step: Step[A]) -> A:
    """Take raw text to a released tool-using model."""
    r = recipe
    corpus = step("corpus", stages.CORPUS, r.corpus)
    tokenizer = step("tokenizer", stages.TOKENIZER, r.tokenizer, corpus=corpus)
    tasks = step("tasks", stages.TASKS, r.tasks, corpus=corpus)
    read = {"corpus": corpus, "tokenizer": tokenizer, "tasks": tasks}
    shards = step("shards", stages.SHARDS, r.shards, **read)
    trajectories = step("trajectories", stages.TRAJECTORIES, r.trajectories, **read)

    text = {"shards": shards, "tokenizer": tokenizer}
    commonsense = step("commonsense", stages.PRETRAIN, r.commonsense, **text)
    stem = step("stem", stages.PRETRAIN, r.stem, initial=commonsense, **text)
    long_context = step("long_context", stages.PRETRAIN, r.long_context, initial=stem, **text)

    taught = {"trajectories": trajectories, "tokenizer": tokenizer}
    mid, given = stages.AGENTIC_MIDTRAIN, {**taught, "shards": shards}
    if not isinstance(r.agentic_base, mid.config):  # the ablation's control: as many tokens of text
        mid, given = stages.PRETRAIN, text
    agentic_base = step("agentic_base", mid, r.agentic_base, initial=long_context, **given)
    assistant = step("assistant", stages.SFT, r.assistant, initial=agentic_base, **taught)
    played = {"tasks": tasks, "tokenizer": tokenizer}
    agent = step("agent", stages.RL, r.agent, initial=assistant, **played)

    exam, judged = stages.EVALUATE, {"tasks": tasks, **text}
    scores = (
        step("scores.commonsense", exam, r.text_scores, checkpoint=commonsense, **judged),
        step("scores.stem", exam, r.text_scores, checkpoint=stem, **judged),
        step("scores.long_context", exam, r.text_scores, checkpoint=long_context, **judged),
        step("scores.agentic_base", exam, r.agent_scores, checkpoint=agentic_base, **judged),
        step("scores.assistant", exam, r.agent_scores, checkpoint=assistant, **judged),
        step("scores.agent", exam, r.agent_scores, checkpoint=agent, **judged),
    )
    given = {"checkpoint": agent, "tokenizer": tokenizer, "scores": scores}
    return step("release", stages.EXPORT, r.release, **given)
