"""Take one step: find its artifact and reuse it, or have it made.

Steps are looked up again here, after the plan, because a key is known only once the content of
every input is. One process of this machine at a time works on a key; the others wait and then find
the artifact.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from components.artifacts.identity import code_digest
from components.artifacts.manifest import InputRecord, Manifest
from components.contract import Stage, StageConfig
from components.execution.exit_codes import exit_code, machine_fault
from components.execution.request import StageRequest
from flows.attempts import Interrupted, StepFailed, make
from flows.context import Run
from flows.plan import Ingredients, why_made


@dataclass(frozen=True)
class ArtifactRef:
    """Point at the artifact a step has made or found."""

    step: str
    stage: str
    key: str
    digest: str
    exceptions: tuple[str, ...] = ()


Given = Mapping[str, "ArtifactRef | tuple[ArtifactRef, ...]"]


def produce(run: Run, name: str, stage: Stage, config: StageConfig, inputs: Given) -> ArtifactRef:
    """Return the artifact of one step, computing it where it does not exist.

    Raises StepFailed with the cause, and Interrupted once the run is to stop.
    """
    try:
        _refuse_late(run, name)
        return _produce(run, name, stage, config, inputs)
    except Interrupted as error:
        run.failures.append(error)
        run.board.ended(name, "stopped")
        run.register.step(name, state="stopped", ended=time.time(), cause=str(error))
        raise
    except Exception as error:
        failed = error if isinstance(error, StepFailed) else _as_failure(name, error)
        run.failures.append(failed)  # first: the disk that failed the step may fail its record
        run.board.ended(name, "failed")
        run.register.step(name, state="failed", ended=time.time(), cause=failed.cause)
        if failed is error:
            raise
        raise failed from error


def _produce(run: Run, name: str, stage: Stage, config: StageConfig, inputs: Given) -> ArtifactRef:
    planned = run.plan.steps[name]
    records = tuple(_records(inputs))
    inherited = {e for _, ref in _each(inputs) for e in ref.exceptions}
    if planned.manifest is not None and not run.store.missing(planned.manifest):
        inherited |= set(planned.exceptions)
        return _found(run, name, planned.manifest, tuple(sorted(inherited)))
    now = Ingredients(stage, config, planned.revisions, records)
    key = now.key
    run.register.step(name, key=key)
    with run.key_locks[key], run.store.lock(key):
        manifest = _sound(run, stage, key)
        if manifest is not None:
            reason = "what it depends on turned out to be equal"
            run.register.step(name, reason=reason if planned.state == "depends" else "")
            return _found(run, name, manifest, tuple(sorted(inherited)))
        draft = StageRequest(
            table=run.table,
            stage=stage.name,
            step=name,
            config=config.model_dump(mode="json"),
            inputs=records,
            key=key,
            code_digest=code_digest(stage).digest,
            revisions=planned.revisions,
            run=run.id,
            attempt=0,
            resources=run.resources[name],
            store=run.store.objects.uri,
            home=None if run.settings.launcher == "kubernetes" else run.settings.home,
            exceptions=tuple(sorted(inherited)),
        )
        with run.slots:
            _refuse_late(run, name)
            reason = "; ".join(why_made(run.store, planned.before, now))
            run.register.step(name, state="running", started=time.time(), reason=reason)
            run.board.started(name)
            manifest = make(run, draft)
    run.register.artifact(manifest)
    run.register.step(name, state="done", digest=manifest.digest, ended=time.time())
    run.executed.append(name)
    run.board.ended(name, "done")
    return _reference(name, manifest, draft.exceptions)


def _refuse_late(run: Run, name: str) -> None:
    if run.stop.is_set() or run.failures:
        raise Interrupted(f"step {name} was not started: the run is ending", run.stopped_by)


def _sound(run: Run, stage: Stage, key: str) -> Manifest | None:
    """Return the artifact at a key; one with missing files is set aside first."""
    run.store.condemn_unreadable(stage.name, key)
    manifest = run.store.manifest(stage.name, key)
    problems = run.store.missing(manifest) if manifest else []
    if manifest is None or not problems:
        return manifest
    run.store.condemn(manifest)
    run.register.condemned(key)
    run.register.event("condemned", manifest.step, problem=problems[0])
    run.board.say(manifest.step, f"damaged, made again: {problems[0]}")
    return None


def _found(run: Run, name: str, manifest: Manifest, exceptions: tuple[str, ...]) -> ArtifactRef:
    run.register.artifact(manifest)
    run.register.step(
        name,
        state="cached",
        key=manifest.key,
        digest=manifest.digest,
        attempt=manifest.attempt,
        started=manifest.started,
        ended=manifest.ended,
    )
    run.board.ended(name, "cached")
    return _reference(name, manifest, exceptions)


def _reference(name: str, manifest: Manifest, exceptions: tuple[str, ...]) -> ArtifactRef:
    return ArtifactRef(name, manifest.stage, manifest.key, manifest.digest, exceptions)


def _each(inputs: Given) -> list[tuple[str, ArtifactRef]]:
    return [
        (name, ref)
        for name, value in inputs.items()
        for ref in (value if isinstance(value, tuple) else (value,))
    ]


def _records(inputs: Given) -> list[InputRecord]:
    return [
        InputRecord(name=name, stage=ref.stage, step=ref.step, key=ref.key, digest=ref.digest)
        for name, ref in _each(inputs)
    ]


def _as_failure(step: str, error: Exception) -> StepFailed:
    """Give an error of the orchestration itself the form of a failed step."""
    cause = machine_fault(error) or str(error) or type(error).__name__
    return StepFailed(step, int(exit_code(error)), cause)
