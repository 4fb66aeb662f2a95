"""`strata export` and `strata serve`: use what a run has made."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from components.artifacts.manifest import Manifest
from components.artifacts.store import ArtifactStore, open_store
from components.contract import BadInput, EnvironmentMissing, NotFound, load_function
from components.settings import Settings, settings
from flows.commands.output import emit, say
from flows.display import watch
from flows.engine import to_mlflow, with_prefect
from flows.evaluate import artifacts_of, release
from flows.lookup import Found, find
from flows.run import carry_out, make_plan
from flows.runs import RunRecord
from flows.server_processes import port_holder


def export(
    name: str = "latest",
    *,
    to: Annotated[Path | None, Parameter(name=["--to", "-o"])] = None,
    json: bool = False,
) -> None:
    """Copy a run's released model, a Hugging Face folder, to a directory of its own.

    Parameters
    ----------
    name
        RUN for its release, or STEP or RUN/STEP for another of its checkpoints.
    to
        Directory to make; the model's name in the current directory without one.
    json
        Print JSON: path, digest and files.
    """
    here = settings()
    store = open_store(here)
    manifest = released(store, here, find(store, name, made=True))
    target = (to or Path(str(manifest.facts.get("name", "model")))).absolute()
    if target.exists() and any(target.iterdir()):
        raise BadInput(f"{target} exists and is not empty: choose another directory with --to")
    problems = store.damaged(manifest)
    if problems:
        raise BadInput(f"the released model is damaged: {problems[0]}\nRun `strata run` again.")
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(store.files(manifest), partial)
    if target.exists():
        target.rmdir()
    partial.rename(target)
    if json:
        files = [file.path for file in manifest.files]
        emit({"path": str(target), "digest": manifest.digest, "files": files})
    else:
        print(target)


def released(store: ArtifactStore, here: Settings, found: Found) -> Manifest:
    """Return the released artifact of what was found, making it where it is another checkpoint."""
    if found.manifest is not None and found.manifest.stage == "export":
        return found.manifest
    if found.run is None:
        raise BadInput("name a run, or RUN/STEP for one of its checkpoints")
    if found.step is None:
        return artifacts_of(store, found.run, ["release"])["release"]
    job = release(store, found.run, found.step)
    plan = make_plan(job, store)
    if plan.pending:
        say(f"releasing {found.step} of run {found.run.id}")
    outcome = carry_out(job, here, plan, engine=with_prefect, watcher=watch, shipper=to_mlflow)
    step = outcome.record.steps["release"]
    manifest = store.manifest(step.stage, step.key or "")
    if manifest is None:
        raise NotFound(f"the release of {found.step} is gone: run the command again")
    return manifest


def serve(
    model: str = "latest",
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
) -> int:
    """Serve a model with an OpenAI-compatible chat API, tools included, until it is stopped.

    Parameters
    ----------
    model
        Exported folder, RUN, STEP or RUN/STEP.
    host
        Address to listen on; there is no login, so other machines only see it if you say so.
    port
        Port to listen on.
    """
    refuse_port(port)
    given: dict[str, Any] = {"folder": Path(model), "name": Path(model).resolve().name}
    if not (given["folder"] / "config.json").exists():
        given = _of_store(open_store(settings()), model)
        given["name"] = "strata" if model == "latest" else model
    say(f"serving {given['folder']} at http://{host}:{port}/v1; Ctrl-C stops it")
    load_function("components.serving.server:serve")(host=host, port=port, **given)
    return 0


def refuse_port(port: int) -> None:
    """Raise BadInput for a number that is no port, EnvironmentMissing for a port in use: loading
    a model first would take a while.
    """
    if not 0 < port < 65536:
        raise BadInput(f"--port {port}: a port is a number from 1 to 65535")
    holder = port_holder(port)
    if holder:
        raise EnvironmentMissing(
            f"port {port} is taken by {holder}: end it, or choose another one with --port"
        )


def _of_store(store: ArtifactStore, name: str) -> dict[str, Any]:
    """Return the model's folder, and what a checkpoint does not carry: `tokenizer`, its folder,
    and `describe_tools`.
    """
    found = find(store, name, made=True)
    if found.manifest is not None and found.manifest.stage == "export":
        return {"folder": store.files(found.manifest)}
    if found.run is None:
        raise BadInput(f"{name} is no model: name a folder, a run, or RUN/STEP")
    if found.step is None:
        return {"folder": store.files(artifacts_of(store, found.run, ["release"])["release"])}
    made = artifacts_of(store, found.run, [found.step, "tokenizer"])
    return {
        "folder": store.files(made[found.step]),
        "tokenizer": store.files(made["tokenizer"]),
        "describe_tools": describes_tools(found.run),
    }


def describes_tools(run: RunRecord) -> bool:
    """Return whether prompts describe the tools to the models of a run, as in their training."""
    recipe = run.resolved.get("with", run.resolved)  # the arms of an ablation agree
    # A run that scores or releases one checkpoint is no recipe, but has its step's configuration.
    config = recipe.get("trajectories") or recipe["config"]
    return config.get("describe_tools", False)
