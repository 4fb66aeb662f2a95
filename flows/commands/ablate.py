"""`strata ablate`: what a recipe owes to agentic mid-training, against a token-matched control."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

from cyclopts import Parameter

from components.artifacts.store import open_store
from components.settings import settings
from flows.ablation import ablation, ablation_table
from flows.commands.options import Changes
from flows.commands.output import emit, say
from flows.display import watch
from flows.engine import to_mlflow, with_prefect
from flows.plan_table import plan_table
from flows.run import carry_out, make_plan
from flows.scores import scores_of_run


def ablate(
    recipe: str = "toy",
    *,
    without: Literal["agentic_midtrain"] = "agentic_midtrain",
    seeds: int = 3,
    hold_out: Annotated[str, Parameter(name="--hold-out")] = "repair",
    changes: Changes = Changes(),  # noqa: B008  (frozen)
    json: bool = False,
) -> None:
    """Train a recipe up to SFT with and without a stage, over several seeds, and compare.

    The control spends the same tokens on text and gets the same SFT.

    Parameters
    ----------
    recipe
        Name of a recipe: ci, toy, small or two_billion.
    without
        Stage to leave out.
    seeds
        Seeds of each arm.
    hold_out
        Task family kept out of training in both arms; empty holds none out.
    json
        Print JSON: scores by checkpoint.
    """
    del without
    here = settings()
    store = open_store(here)
    job = ablation(changes.apply_to(recipe, here), seeds=seeds, held_out=hold_out)
    plan = make_plan(job, store)
    say(plan_table(plan))
    outcome = carry_out(job, here, plan, engine=with_prefect, watcher=watch, shipper=to_mlflow)
    scores = scores_of_run(store, outcome.record)
    if json:
        emit(
            {
                "run_id": outcome.record.id,
                "scores": {
                    each.checkpoint: {name: asdict(score) for name, score in each.scores.items()}
                    for each in scores
                },
            }
        )
    else:
        print(ablation_table(scores, hold_out))
