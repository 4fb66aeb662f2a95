"""What a run would do, why, and at what cost, without doing anything.

The planner is a `step` for the pipeline. It knows three states: cached, runs, and depends on a step
that runs, since the key of what follows is pending until the content before it is known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from components.artifacts.identity import artifact_key, code_digest, package_versions
from components.artifacts.manifest import InputRecord, Manifest
from components.artifacts.store import ArtifactStore
from components.contract import Resources, Stage, StageConfig
from flows.cost import Cost, estimate
from flows.difference import diff

PlanState = Literal["cached", "runs", "depends"]
PlannedInputs = Mapping[str, "PlannedStep | tuple[PlannedStep, ...]"]


@dataclass(frozen=True)
class PlannedStep:
    """Say what would become of one step."""

    name: str
    stage: Stage
    config: StageConfig
    state: PlanState
    reasons: tuple[str, ...]
    """Why it runs; for a cached step, what else is worth saying."""
    key: str | None
    revisions: dict[str, str]
    manifest: Manifest | None
    """The artifact that is used, where the step is cached."""
    before: Manifest | None
    """The newest artifact of the same step, whatever it was made of."""
    parents: tuple[str, ...]
    cost: Cost
    exceptions: tuple[str, ...] = ()
    parameters: int | None = None
    """Weights of the model that the step makes or scores."""

    @property
    def digest(self) -> str | None:
        """Content digest, once it is known."""
        return self.manifest.digest if self.manifest else None

    def record(self, name: str) -> InputRecord:
        """Write the artifact down as the input `name` of another step."""
        assert self.manifest is not None
        return InputRecord(
            name=name,
            stage=self.manifest.stage,
            step=self.name,
            key=self.manifest.key,
            digest=self.manifest.digest,
        )

    def to_json(self) -> dict[str, Any]:
        """Return what `strata plan --json` prints for this step."""
        return {
            "step": self.name,
            "stage": self.stage.name,
            "state": self.state,
            "reasons": list(self.reasons),
            "key": self.key,
            "digest": self.digest,
            "inputs": list(self.parents),
            "tokens": self.cost.tokens,
            "flops": self.cost.flops,
            "seconds": self.cost.seconds,
            "bytes": self.cost.bytes,
        }


@dataclass
class Planner:
    """Plan each step it is called with; `steps` keeps them in the pipeline's order."""

    store: ArtifactStore
    accept_stale: frozenset[str] = frozenset()
    """Steps whose newest artifact is used although its code has changed since."""
    pinned: Mapping[str, Manifest] = field(default_factory=dict[str, Manifest])
    """Artifacts that are used as they are, by step."""
    resources_of: Callable[[str], Resources] = lambda _step: Resources()
    steps: dict[str, PlannedStep] = field(default_factory=dict[str, PlannedStep])
    _newest: dict[tuple[str, str], Manifest] | None = None

    def __call__(
        self,
        name: str,
        stage: Stage,
        config: StageConfig,
        **inputs: PlannedStep | tuple[PlannedStep, ...],
    ) -> PlannedStep:
        """Plan one step from what is planned for its inputs."""
        if name in self.pinned:
            self.steps[name] = _pinned(name, stage, config, self.pinned[name])
            return self.steps[name]
        revisions = stage.revisions(config)
        before = self._before(name, stage)
        parents = tuple(dict.fromkeys(parent.name for _, parent in each_input(inputs)))
        pending = [parent.name for _, parent in each_input(inputs) if parent.manifest is None]
        now = Ingredients(stage, config, revisions, tuple(_records(inputs)))
        parameters = _parameters(config, inputs)
        planned = PlannedStep(
            name=name,
            stage=stage,
            config=config,
            state="depends",
            reasons=(),
            key=None,
            revisions=revisions,
            manifest=None,
            before=before,
            parents=parents,
            cost=estimate(config, before, _manifests(inputs), parameters, self.resources_of(name)),
            parameters=parameters,
            exceptions=tuple(
                sorted({e for _, parent in each_input(inputs) for e in parent.exceptions})
            ),
        )
        if pending:
            own = differences(before, now, but_inputs=True) if before else []
            known = (f"depends on {', '.join(dict.fromkeys(pending))}", *own)
            planned = replace(planned, reasons=known)
        else:
            planned = self._with_key(planned, now)
        self.steps[name] = planned
        return planned

    def _with_key(self, planned: PlannedStep, now: Ingredients) -> PlannedStep:
        key = now.key
        manifest = self.store.manifest(planned.stage.name, key)
        planned = replace(planned, key=key)
        if manifest is not None:
            problems = self.store.missing(manifest)
            if not problems:
                return replace(planned, state="cached", manifest=manifest, cost=Cost())
            return replace(planned, state="runs", reasons=(f"damaged: {problems[0]}",))
        if self.store.unreadable(planned.stage.name, key):
            return replace(planned, state="runs", reasons=("damaged: its manifest is unreadable",))
        if planned.name in self.accept_stale:
            stale = self._stale(planned, now)
            if stale is not None:
                return stale
        return replace(planned, state="runs", reasons=why_made(self.store, planned.before, now))

    def _stale(self, planned: PlannedStep, now: Ingredients) -> PlannedStep | None:
        """Use the newest artifact where nothing but code or packages differ."""
        before = planned.before
        if before is None or self.store.missing(before):
            return None
        config = now.config.model_dump(mode="json")
        if (before.config, before.revisions) != (config, now.revisions):
            return None
        if input_digests(before.inputs) != input_digests(now.inputs):
            return None
        accepted = f"{planned.name}: stale artifact {before.key[:12]} accepted"
        return replace(
            planned,
            state="cached",
            key=before.key,
            manifest=before,
            cost=Cost(),
            reasons=tuple(f"accepted although {reason}" for reason in differences(before, now)),
            exceptions=(*planned.exceptions, accepted),
        )

    def _before(self, name: str, stage: Stage) -> Manifest | None:
        if self._newest is None:
            self._newest = {}
            for manifest in sorted(self.store.manifests(), key=lambda each: each.ended):
                self._newest[manifest.stage, manifest.step] = manifest
        return self._newest.get((stage.name, name))


def _pinned(name: str, stage: Stage, config: StageConfig, manifest: Manifest) -> PlannedStep:
    return PlannedStep(
        name=name,
        stage=stage,
        config=config,
        state="cached",
        reasons=("given",),
        key=manifest.key,
        revisions=manifest.revisions,
        manifest=manifest,
        before=manifest,
        parents=(),
        cost=Cost(),
        exceptions=manifest.exceptions,
    )


@dataclass(frozen=True)
class Ingredients:
    """Hold what a step's artifact is made of, now."""

    stage: Stage
    config: StageConfig
    revisions: dict[str, str]
    inputs: tuple[InputRecord, ...]

    @property
    def key(self) -> str:
        """Key of the artifact."""
        return artifact_key(self.stage, self.config, self.revisions, input_digests(self.inputs))


def why_made(store: ArtifactStore, before: Manifest | None, now: Ingredients) -> tuple[str, ...]:
    """Say why an artifact that does not exist has to be made; `before` is its step's last one."""
    stage, key = now.stage.name, now.key
    reasons: list[str] = []
    if any(store.objects.names(f"artifacts/{stage}/{key}/condemned")):
        reasons.append("its artifact was damaged and set aside")
    attempts = store.attempts(stage, key)
    if attempts and not reasons:
        how = "continues" if any(each.has_resume_point() for each in attempts) else "did not finish"
        reasons.append(f"attempt {attempts[-1].number} {how}")
    if before is not None:
        reasons += differences(before, now)
    return tuple(reasons) or ("never made before",)


def differences(before: Manifest, now: Ingredients, *, but_inputs: bool = False) -> list[str]:
    """Say in words what changed between an artifact and what its step is made of now."""
    found = [
        f"config: {name} {_short(old)} → {_short(new)}"
        for name, (old, new) in diff(before.config, now.config.model_dump(mode="json")).items()
    ]
    code = code_digest(now.stage)
    if code.digest != before.code_digest:
        modules = diff(before.code_modules, code.modules)
        found.append(f"code: {_listed([_module(name, *pair) for name, pair in modules.items()])}")
    for name, (old, new) in diff(before.revisions, now.revisions).items():
        found.append(f"source: {name} {_short(old)} → {_short(new)}")
    for name, (old, new) in diff(before.packages, package_versions(now.stage)).items():
        found.append(f"package: {name} {_short(old)} → {_short(new)}")
    if but_inputs:
        return found
    old_inputs, new_inputs = _by_name(before.inputs), _by_name(now.inputs)
    found += [
        f"input: {name} is {_short(new)} instead of {_short(old)}"
        for name, (old, new) in diff(old_inputs, new_inputs).items()
    ]
    return found


def each_input(inputs: PlannedInputs) -> Iterable[tuple[str, PlannedStep]]:
    """Yield name and step of each input, one by one for a tuple."""
    for name, value in inputs.items():
        for step in value if isinstance(value, tuple) else (value,):
            yield name, step


def _records(inputs: PlannedInputs) -> Iterable[InputRecord]:
    return (step.record(name) for name, step in each_input(inputs) if step.manifest is not None)


def input_digests(records: Iterable[InputRecord]) -> dict[str, str | tuple[str, ...] | None]:
    """Return the content digests by input name; several of one name as a tuple."""
    grouped: dict[str, list[str]] = {}
    for record in records:
        grouped.setdefault(record.name, []).append(record.digest)
    return {
        name: digests[0] if len(digests) == 1 else tuple(digests)
        for name, digests in grouped.items()
    }


def _by_name(records: Iterable[InputRecord]) -> dict[str, str]:
    return {f"{record.name} ({record.step})": record.digest[:12] for record in records}


def _manifests(inputs: PlannedInputs) -> dict[str, Manifest]:
    return {name: step.manifest for name, step in each_input(inputs) if step.manifest}


def _parameters(config: StageConfig, inputs: PlannedInputs) -> int | None:
    """Return the weights of the model at hand: of the configuration, or of the model read."""
    model = getattr(config, "model", None)
    if model is not None:
        return int(model.parameters)
    found = [step.parameters for name, step in each_input(inputs) if name == "initial"]
    return found[0] if found else None


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 48 else f"{text[:20]}…{text[-12:]}"


def _module(name: str, old: str | None, new: str | None) -> str:
    path = name if "/" in name else name.replace(".", "/") + ".py"
    return f"{path} {'added' if old is None else 'removed' if new is None else 'changed'}"


def _listed(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@dataclass(frozen=True)
class Plan:
    """Hold the planned steps and when they were planned."""

    steps: dict[str, PlannedStep]
    made: float = field(default_factory=time.time)

    @property
    def cached(self) -> list[str]:
        """Names of the steps whose artifact is there."""
        return [name for name, step in self.steps.items() if step.state == "cached"]

    @property
    def pending(self) -> list[str]:
        """Names of the steps that run or may have to."""
        return [name for name, step in self.steps.items() if step.state != "cached"]

    def ancestors(self, name: str) -> set[str]:
        """Return a step and everything it is made of."""
        found = {name}
        for parent in self.steps[name].parents:
            found |= self.ancestors(parent)
        return found

    def only(self, names: set[str]) -> Plan:
        """Return the plan of some of the steps."""
        return Plan({name: step for name, step in self.steps.items() if name in names}, self.made)


def damaged_files(store: ArtifactStore, plan: Plan) -> dict[str, list[str]]:
    """Check every byte of the cached artifacts; return the problems by step."""
    checked = {name: plan.steps[name].manifest for name in plan.cached}
    found = {name: store.damaged(manifest) for name, manifest in checked.items() if manifest}
    return {name: problems for name, problems in found.items() if problems}


def files_of(store: ArtifactStore, step: PlannedStep) -> Path | None:
    """Return the directory of a cached step's files."""
    return store.files(step.manifest) if step.manifest else None
