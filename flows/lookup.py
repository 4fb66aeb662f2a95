"""Find what a user names: a run, a step of a run, or an artifact."""

from __future__ import annotations

from dataclasses import dataclass

from components.artifacts.manifest import Manifest
from components.artifacts.store import ArtifactStore
from components.contract import BadInput, NotFound
from flows.overlay import suggest
from flows.runs import RunRecord, StepRecord, find_run, newest_first


@dataclass(frozen=True)
class Found:
    """Hold what a name stands for: a run, perhaps one step of it, perhaps an artifact alone."""

    run: RunRecord | None = None
    step: str | None = None
    manifest: Manifest | None = None

    @property
    def record(self) -> StepRecord | None:
        """The step's record in its run."""
        return self.run.steps[self.step] if self.run and self.step else None


def find(store: ArtifactStore, name: str, *, made: bool = False) -> Found:
    """Find `STEP`, `RUN`, `RUN/STEP`, or the first digits of an artifact's key or digest.

    A step without a run is looked up in the newest run of a pipeline that has it, and with `made`
    has made it; `latest` with `made` is the newest that made all. Raises NotFound with a
    suggestion where nothing fits.
    """
    if "/" in name:
        run, _, name = name.partition("/")
        return find_step(store, find_run(store, run), name) if name else Found(find_run(store, run))
    latest = not name or name == "latest"
    if latest and not made:
        return Found(find_run(store))
    steps: dict[str, None] = {}
    for record in newest_first(store):
        if record.kind != "pipeline":
            continue
        step = record.steps.get("release" if latest else name)
        if step is not None and (step.digest or not made):
            return Found(record) if latest else find_step(store, record, name)
        steps.update(dict.fromkeys(record.steps))
    if latest:
        raise NotFound("no run has made a release yet: `strata run toy` makes one")
    try:
        return Found(find_run(store, name))
    except NotFound:
        return _artifact(store, name, list(steps))


def find_step(store: ArtifactStore, run: RunRecord, step: str) -> Found:
    """Find a step of a run with its artifact, where that was made."""
    if step not in run.steps:
        best = suggest(step, run.steps)
        hint = f" Did you mean {best[0]}?" if best else ""
        raise NotFound(f"run {run.id} has no step {step!r}.{hint} Steps: {', '.join(run.steps)}.")
    record = run.steps[step]
    done = record.key is not None and record.digest is not None
    manifest = store.manifest(record.stage, record.key or "") if done else None
    return Found(run, step, manifest)


def _artifact(store: ArtifactStore, name: str, steps: list[str]) -> Found:
    digits = name.removeprefix("sha256:")
    try:
        if len(digits) < 4 or set(digits) - set("0123456789abcdef"):
            raise NotFound(name)
        return Found(manifest=store.find(digits))
    except NotFound:
        if not steps:
            raise NotFound(
                f"there is no run yet that {name!r} could belong to: start one with "
                "`strata run toy`"
            ) from None
        best = suggest(name, steps)
        hint = f" Did you mean {best[0]}?" if best else ""
        raise NotFound(
            f"nothing is named {name!r}: no step of a run, no run, no artifact.{hint}\n"
            "`strata runs` lists the runs, `strata status` the steps of the newest."
        ) from None


def of_step(found: Found, name: str) -> tuple[RunRecord, str]:
    """Return run and step of what was found; raises BadInput where it is no step."""
    if found.run is None or found.step is None:
        raise BadInput(f"{name} is not a step: write a step, or RUN/STEP")
    return found.run, found.step
