"""`strata show`, `diff`, `artifact verify`: what runs and artifacts are, and where runs part."""

from __future__ import annotations

from typing import Any

from components.artifacts.manifest import Manifest
from components.artifacts.store import ArtifactStore, open_store
from components.contract import StageFailure
from components.settings import settings
from flows.commands.output import emit, size, table, when
from flows.commands.status import state_of
from flows.difference import diff as differences
from flows.difference import flatten
from flows.display import duration
from flows.lookup import find
from flows.runs import RunRecord, find_run
from flows.scores import read_scores, score_tables, scores_json, scores_of_run


def show(name: str = "latest", *, json: bool = False) -> None:
    """Show a run with its scores, or an artifact with its lineage.

    Parameters
    ----------
    name
        RUN, STEP, RUN/STEP, or the first digits of an artifact's key or digest.
    json
        Print JSON.
    """
    store = open_store(settings())
    found = find(store, name)
    if found.manifest is not None:
        _show_artifact(store, found.manifest, json)
    elif found.step is not None and found.run is not None:
        step = found.run.steps[found.step]
        emit(step.model_dump()) if json else print(
            f"{found.step}: {step.state}; no artifact yet, or a damaged one"
        )
    elif found.run is not None:
        _show_run(store, found.run, json)


def _show_run(store: ArtifactStore, record: RunRecord, json: bool) -> None:
    scores = scores_of_run(store, record)
    if json:
        emit({**record.model_dump(), "state": state_of(record), "scores": scores_json(scores)})
        return
    print(f"run      {record.id}, {state_of(record)}")
    print(f"recipe   {record.recipe}, {record.identity[:12]}")
    print(f"started  {when(record.created)} on {record.host}, {duration(record.seconds)}")
    if record.commit:
        print(f"commit   {record.commit[:12]}")
    for exception in record.exceptions:
        print(f"accepted {exception}")
    for title, url in record.links.items():
        print(f"{title:8} {url}")
    rows: list[list[Any]] = [
        [name, step.state, (step.digest or "")[:12], duration(step.seconds)]
        for name, step in record.steps.items()
    ]
    print("\n" + table(["step", "state", "digest", "time"], rows))
    if scores:
        print("\n" + score_tables(scores))


def _show_artifact(store: ArtifactStore, manifest: Manifest, json: bool) -> None:
    if json:
        emit({**manifest.model_dump(), "path": store.address(manifest)})
        return
    print(f"artifact  {manifest.step} ({manifest.stage})")
    print(f"key       {manifest.key}")
    print(f"digest    {manifest.digest}")
    print(f"files     {store.address(manifest)} ({len(manifest.files)}, {size(manifest.bytes)})")
    print(
        f"made      {when(manifest.started)} in {duration(manifest.seconds)} by {manifest.run}, "
        f"attempt {manifest.attempt}, {manifest.host}"
    )
    for exception in manifest.exceptions:
        print(f"accepted  {exception}")
    for record in manifest.inputs:
        print(f"input     {record.name}: {record.step} {record.digest[:12]}")
    for title, revision in manifest.revisions.items():
        print(f"source    {title}: {revision}")
    for title, version in manifest.packages.items():
        print(f"package   {title} {version}")
    if manifest.stage == "evaluate":
        print("\n" + score_tables([read_scores(manifest.step, store.files(manifest))]))
    for title, fields in (("facts", manifest.facts), ("config", manifest.config)):
        print(f"\n{title}")
        for field, value in flatten(fields).items():
            print(f"  {field} = {_short(value)}")


def _short(value: Any, most: int = 100) -> str:
    text = str(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def diff(left: str, right: str = "latest", *, json: bool = False) -> None:
    """Say where two runs part: the first step with other content, the fields, the scores.

    Parameters
    ----------
    left
        Id of a run, or a part of it.
    right
        The other one; the newest without one.
    json
        Print JSON.
    """
    store = open_store(settings())
    a, b = find_run(store, left), find_run(store, right)
    names = [*a.steps, *(name for name in b.steps if name not in a.steps)]
    parted = [name for name in names if _digest(a, name) != _digest(b, name)]
    fields = differences(a.resolved, b.resolved)
    scores = _score_differences(store, a, b)
    if json:
        emit(
            {
                "runs": [a.id, b.id],
                "first_step": parted[0] if parted else None,
                "steps": parted,
                "config": fields,
                "scores": scores,
            }
        )
        return
    print(f"{a.id} and {b.id}")
    print(f"They part at {parted[0]}." if parted else "Every step has equal content.")
    if parted[1:]:
        print(f"Other content too: {', '.join(parted[1:])}")
    if fields:
        print(
            "\n" + table(["field", "first", "second"], [[n, x, y] for n, (x, y) in fields.items()])
        )
    if scores:
        print(
            "\n"
            + table(
                ["score", "first", "second", "difference"],
                [[n, f"{x:.4f}", f"{y:.4f}", f"{y - x:+.4f}"] for n, (x, y) in scores.items()],
            )
        )


def _digest(record: RunRecord, name: str) -> str | None:
    return record.steps[name].digest if name in record.steps else None


def _score_differences(
    store: ArtifactStore, a: RunRecord, b: RunRecord
) -> dict[str, tuple[float, float]]:
    left, right = (
        {
            f"{each.checkpoint} {name}": score.value
            for each in scores_of_run(store, record)
            for name, score in each.scores.items()
        }
        for record in (a, b)
    )
    return {n: (left[n], right[n]) for n in left if n in right and left[n] != right[n]}


class Damaged(StageFailure):
    """Report artifacts whose bytes are not those of their manifest."""

    exit_code = 1


def verify(name: str = "", *, json: bool = False) -> None:
    """Check every byte of an artifact, or of all, against its manifest; exits 1 on damage.

    Parameters
    ----------
    name
        STEP, RUN/STEP, or the first digits of a key or digest; all artifacts without one.
    json
        Print JSON: key to problems.
    """
    store = open_store(settings())
    found = find(store, name).manifest if name else None
    manifests = [found] if found else list(store.manifests())
    problems = {m.key: bad for m in manifests if (bad := store.damaged(m))}
    attempted = [] if found else list(store.keys())
    torn = [key for stage, key in attempted if store.unreadable(stage, key)]
    problems |= {key: ["its manifest is unreadable"] for key in torn}
    if json:
        emit({"checked": len(manifests) + len(torn), "damaged": problems})
    else:
        print(f"{len(manifests) + len(torn)} artifacts checked, {len(problems)} damaged")
    if problems:
        first = next(iter(problems))
        raise Damaged(
            f"artifact {first[:12]}: {problems[first][0]}\n"
            "`strata run RECIPE --verify` sets damaged artifacts aside and makes them again."
        )
