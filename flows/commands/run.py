"""`strata run` and `strata rerun`: plan, make what is missing, and sum up."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated, Any

from cyclopts import Parameter

from components.artifacts.store import ArtifactStore, open_store
from components.contract import BadInput, NotFound
from components.settings import Settings, settings
from flows.attempts import StepFailed
from flows.commands.options import Changes, RunOptions
from flows.commands.output import emit, say
from flows.display import duration, watch
from flows.engine import to_mlflow, with_prefect
from flows.jobs import job_of
from flows.overlay import apply, read_assignment, read_environment
from flows.plan import Plan, damaged_files
from flows.plan_table import plan_table
from flows.recipe import Recipe
from flows.run import Job, Outcome, carry_out, make_plan
from flows.runs import find_run
from flows.scores import score_tables, scores_json, scores_of_run

REPAIRS = 3
"""Times a run starts over because an input was found damaged while it was loaded."""


def run(
    recipe: str = "toy",
    *,
    changes: Changes = Changes(),  # noqa: B008  (frozen)
    options: RunOptions = RunOptions(),  # noqa: B008  (frozen)
) -> int:
    """Run a recipe, or continue its unfinished run.

    Shows the plan, then progress, then the scores of each step.

    Parameters
    ----------
    recipe
        Name of a recipe: ci, toy, small or two_billion.
    """
    here = options.settings(settings())
    chosen = changes.apply_to(recipe, here)
    job = job_of(chosen, **_job_options(options))
    if here.launcher == "kubernetes" and not (options.here or options.dry_run):
        return _hand_over(job, here, changes, options)
    return carry_out_and_report(job, here, options)


def rerun(
    name: Annotated[str, Parameter(name="RUN")] = "latest",
    *,
    from_step: Annotated[str, Parameter(name="--from")] = "",
    set: Annotated[list[str] | None, Parameter(name=["--set", "-s"])] = None,
    options: RunOptions = RunOptions(),  # noqa: B008  (frozen)
) -> int:
    """Run a run's recipe again, with changes from a step on.

    Parameters
    ----------
    name
        Id of the run, or a part of it.
    from_step
        First step that may differ: a change of an earlier step is refused.
    set
        One change, STEP.FIELD=VALUE; may be repeated.
    """
    here = options.settings(settings())
    record = find_run(open_store(here), name)
    recipe = Recipe.model_validate(record.resolved)
    assignments = [read_assignment(text) for text in set or []]
    changed = apply(recipe, assignments)
    job = replace(job_of(changed, **_job_options(options)), new=True)
    if from_step:
        refuse_earlier_changes(make_plan(job, open_store(here)), from_step)
    return carry_out_and_report(job, here, options)


def refuse_earlier_changes(plan: Plan, from_step: str) -> None:
    """Raise BadInput where something would run that does not come after `from_step`."""
    if from_step not in plan.steps:
        raise NotFound(f"there is no step {from_step!r}. Steps: {', '.join(plan.steps)}.")
    for name in plan.pending:
        if name != from_step and from_step not in plan.ancestors(name):
            reasons = "; ".join(plan.steps[name].reasons)
            raise BadInput(
                f"step {name} would run too, although it does not follow {from_step}: {reasons}\n"
                f"Run it with `strata run`, or use its old artifact with --accept-stale {name}."
            )


def _job_options(options: RunOptions) -> dict[str, Any]:
    return {
        "until": options.until,
        "new": options.new,
        "accept_stale": frozenset(options.accept_stale),
    }


def carry_out_and_report(job: Job, here: Settings, options: RunOptions) -> int:
    """Carry a job out and print what came of it; returns 0."""
    started = time.time()
    store = open_store(here)
    plan = make_plan(job, store)
    if options.verify:
        plan = _verified(job, store, plan)
    if options.dry_run and here.launcher == "kubernetes":
        _print_manifests(job, here, plan)
        return 0
    if options.dry_run:
        if options.json:
            emit([step.to_json() for step in plan.steps.values()])
        else:
            print(plan_table(plan))
        return 0
    say(plan_table(plan))
    outcome = _with_repairs(job, here, plan)
    report(store, outcome, time.time() - started, as_json=options.json)
    return 0


def _print_manifests(job: Job, here: Settings, plan: Plan) -> None:
    """Print what a cluster would be sent, as YAML documents."""
    import yaml

    from components.execution.cluster_settings import read_cluster
    from flows.manifests import render

    # Nothing is sent, so a tag does for the image.
    cluster = read_cluster(here).model_copy(update={"allow_tag": True})
    made = render(job, plan, cluster, here.store_uri)
    print(yaml.safe_dump_all(made, sort_keys=False), end="")
    say(f"{len(made)} manifests; a key of zeros is not known before the steps ahead are made")


def _hand_over(job: Job, here: Settings, changes: Changes, options: RunOptions) -> int:
    """Submit the run to a worker and follow it; leaving ends nothing."""
    from flows.submission import follow, submit

    started = time.time()
    if changes.file is not None:
        raise BadInput(
            "a file of changes stays on this machine: write them as --set, or use --here"
        )
    here_alone = [f"--accept-stale {name}" for name in options.accept_stale]
    here_alone += ["--verify"] if options.verify else []
    if here_alone:
        raise BadInput(f"{here_alone[0]} holds for a run from here: add --here, or leave it out")
    assignments = [f"{each.name}={each.value}" for each in read_environment(here.set)]
    asked = {"until": options.until, "new": options.new}
    flow_run = submit(here, job.name, [*assignments, *changes.set], **asked)
    say("submitted; Ctrl-C leaves it running, `strata status` looks, `strata cancel` ends it")
    try:
        record = follow(here, flow_run, say)
    except KeyboardInterrupt:
        say("\nleft; the run goes on")
        return 0
    if record is not None:
        steps = record.steps.items()
        made = tuple(n for n, s in steps if s.state == "done" and (s.ended or 0.0) > started)
        cached = tuple(name for name in record.steps if name not in made)
        outcome = Outcome(record, made, cached, record.seconds, record.links)
        report(open_store(here), outcome, time.time() - started, as_json=options.json)
    return 0


def _verified(job: Job, store: ArtifactStore, plan: Plan) -> Plan:
    """Set aside every damaged artifact and plan again."""
    damaged = damaged_files(store, plan)
    for name, problems in damaged.items():
        manifest = plan.steps[name].manifest
        assert manifest is not None
        say(f"{name}: {problems[0]}; it is set aside and made again")
        store.condemn(manifest)
    return make_plan(job, store) if damaged else plan


def _with_repairs(job: Job, here: Settings, plan: Plan) -> Outcome:
    """Carry the job out; where an input turned out to be damaged, plan again and go on."""
    executed: list[str] = []
    for repairs_left in range(REPAIRS, -1, -1):
        try:
            outcome = carry_out(
                job, here, plan, engine=with_prefect, watcher=watch, shipper=to_mlflow
            )
        except StepFailed as error:
            again = make_plan(job, open_store(here))
            lost = [n for n in plan.cached if n in again.steps and n not in again.cached]
            if not (repairs_left and error.exit_code == NotFound.exit_code and lost):
                raise
            say(f"{error.cause}\nMaking again: {', '.join(lost)}")
            plan, job = again, replace(job, new=False)
            executed += lost
            continue
        return outcome
    raise AssertionError("unreachable")


def report(store: ArtifactStore, outcome: Outcome, seconds: float, *, as_json: bool) -> None:
    """Print the scores by step, the time by step and where to look; as JSON in the last line."""
    record = outcome.record
    scores = scores_of_run(store, record)
    release = record.steps.get("release")
    export_dir = None
    if release is not None and release.key and release.digest:
        manifest = store.manifest(release.stage, release.key)
        export_dir = str(store.files(manifest)) if manifest else None
    tell = say if as_json else print
    tables = score_tables(scores)
    if tables:
        tell("\nScores by step\n" + tables)
    times = [
        f"{name} {duration(record.steps[name].seconds)}"
        for name in outcome.executed
        if name in record.steps
    ]
    if times:
        tell(f"\nTime by step: {', '.join(times)}")
    tell(
        f"\nRun {record.id} is done: {len(outcome.executed)} steps made, "
        f"{len(outcome.cached)} reused, {duration(seconds)}."
    )
    tell(_where_to_look(record.id, export_dir, outcome.links))
    if as_json:
        last = list(record.steps.values())[-1] if record.steps else None
        final = release if release is not None and release.digest else last
        emit(
            {
                "run_id": record.id,
                "recipe": record.recipe,
                "seconds": round(seconds, 3),
                "executed": list(outcome.executed),
                "cached": list(outcome.cached),
                "scores": scores_json(scores),
                "final_digest": final.digest if final else None,
                "export_dir": export_dir,
            },
            compact=True,
        )


def _where_to_look(run_id: str, export_dir: str | None, links: Any) -> str:
    lines = [f"Model: {export_dir}"] if export_dir else []
    lines += [f"{name}: {url}" for name, url in dict(links).items() if str(url).startswith("http")]
    lines += [f"Explain a step: strata why STEP · compare runs: strata diff {run_id} RUN"]
    return "\n".join(lines)
