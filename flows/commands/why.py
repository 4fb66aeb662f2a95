"""`strata why`: why a step ran, would run now, or is as it is."""

from __future__ import annotations

from typing import Any

from components.artifacts.manifest import Manifest
from components.artifacts.store import ArtifactStore, open_store
from components.execution.exit_codes import describe
from components.settings import settings
from flows.commands.output import emit, when
from flows.difference import diff
from flows.display import duration
from flows.jobs import job_of
from flows.lookup import Found, find
from flows.plan import PlannedStep
from flows.recipe import Recipe
from flows.run import make_plan
from flows.runs import RunRecord


def why(name: str = "latest", *, json: bool = False) -> None:
    """Say why a step ran and what changed since, or why each step of a run ran.

    Parameters
    ----------
    name
        STEP, RUN/STEP, RUN, or the first digits of an artifact's key.
    json
        Print JSON.
    """
    store = open_store(settings())
    found = find(store, name)
    if found.run is None:
        assert found.manifest is not None
        answer: dict[str, Any] = {"artifact": _made(store, found.manifest)}
    elif found.step is None:
        answer = {"run": found.run.id, "steps": _why_run(store, found.run)}
    else:
        answer = _why_step(store, found)
    if json:
        emit(answer)
    else:
        print("\n".join(_lines(answer)))


def _why_run(store: ArtifactStore, run: RunRecord) -> dict[str, Any]:
    now = _planned_now(store, run)
    return {
        name: {
            "then": f"{step.state}: {step.reason}" if step.reason else step.state,
            "now": _now(now.get(name)),
        }
        for name, step in run.steps.items()
    }


def _why_step(store: ArtifactStore, found: Found) -> dict[str, Any]:
    assert found.run is not None
    assert found.step is not None
    step = found.run.steps[found.step]
    answer: dict[str, Any] = {
        "step": found.step,
        "run": found.run.id,
        "state": step.state,
        "reason": step.reason or "everything it is made of is unchanged",
        "cause": step.cause,
        "now": _now(_planned_now(store, found.run).get(found.step)),
        "attempts": _attempts(store, step.stage, step.key),
    }
    if found.manifest is not None:
        answer["artifact"] = _made(store, found.manifest)
        answer["before"] = _compared(store, found.manifest)
    return answer


def _planned_now(store: ArtifactStore, run: RunRecord) -> dict[str, PlannedStep]:
    """Plan the run's own recipe against what is there now; empty for another kind of run."""
    try:
        recipe = Recipe.model_validate(run.resolved)
    except ValueError:
        return {}
    return make_plan(job_of(recipe), store).steps


def _now(planned: PlannedStep | None) -> str:
    if planned is None:
        return "not planned"
    if planned.state == "cached":
        return "; ".join(["cached", *planned.reasons])
    return f"would run: {'; '.join(planned.reasons)}"


def _attempts(store: ArtifactStore, stage: str, key: str | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for attempt in store.attempts(stage, key) if key else []:
        result = attempt.record("result") or {}
        code = result.get("code")
        meaning = "no result: it was killed, or still runs" if code is None else describe(code)
        found.append(
            {
                "attempt": attempt.number,
                "code": code,
                "meaning": meaning,
                "cause": result.get("cause"),
            }
        )
    return found


def _made(store: ArtifactStore, manifest: Manifest) -> dict[str, Any]:
    return {
        "step": manifest.step,
        "key": manifest.key,
        "digest": manifest.digest,
        "made": f"{when(manifest.started)} by {manifest.run}, {duration(manifest.seconds)}",
        "path": store.address(manifest),
        "inputs": {f"{r.name} ({r.step})": r.digest[:12] for r in manifest.inputs},
        "sources": manifest.revisions,
        "packages": manifest.packages,
        "numerics": manifest.numerics,
        "accepted": list(manifest.exceptions),
    }


def _compared(store: ArtifactStore, manifest: Manifest) -> dict[str, Any]:
    """Compare an artifact with the one of the same step that was made just before it."""
    earlier = [
        m
        for m in store.manifests()
        if (m.stage, m.step) == (manifest.stage, manifest.step) and m.ended < manifest.ended
    ]
    if not earlier:
        return {}
    before = max(earlier, key=lambda m: m.ended)
    parts = ("config", "code_modules", "revisions", "packages", "numerics")
    found = {part: diff(getattr(before, part), getattr(manifest, part)) for part in parts}
    found["inputs"] = diff(
        *({f"{r.name} ({r.step})": r.digest[:12] for r in m.inputs} for m in (before, manifest))
    )
    changed = {
        part: {n: list(pair) for n, pair in values.items()}
        for part, values in found.items()
        if values
    }
    return {"key": before.key, "changed": changed, "same_content": before.digest == manifest.digest}


def _lines(value: Any, indent: str = "") -> list[str]:
    lines: list[str] = []
    for name, item in value.items():
        if item in (None, {}, [], ""):
            continue
        if isinstance(item, dict):
            lines += [f"{indent}{name}", *_lines(item, indent + "  ")]
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            lines.append(f"{indent}{name}")
            for each in item:
                kept = {k: v for k, v in each.items() if v is not None}
                lines.append(f"{indent}  " + ", ".join(f"{k} {v}" for k, v in kept.items()))
        elif isinstance(item, list) and len(item) == 2:
            lines.append(f"{indent}{name}: {_cut(item[0])} → {_cut(item[1])}")
        else:
            lines.append(f"{indent}{name}: {item}")
    return lines


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:28] + "…" + text[-12:]
