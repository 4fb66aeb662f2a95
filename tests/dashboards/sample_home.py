"""A small home as runs leave it behind, written through the real store, journal and catalog.

Numbers are invented, shapes are not: five runs of two recipes, one of them still going, one failed,
one that reused all but its last steps.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from components.agents.conversation import Branch, Conversation, Message, ToolCall
from components.artifacts.manifest import InputRecord, Manifest, content_digest, list_files
from components.artifacts.store import ArtifactStore, open_store
from components.catalog import record
from components.catalog.session import Catalog, open_catalog
from components.settings import Settings
from components.tracking.journal import Journal

STAGES = {
    "corpus": ("corpus", (), 41.0),
    "tokenizer": ("tokenizer", ("corpus",), 12.0),
    "tasks": ("tasks", ("corpus",), 6.0),
    "shards": ("shards", ("corpus", "tokenizer", "tasks"), 14.0),
    "trajectories": ("trajectories", ("corpus", "tokenizer", "tasks"), 33.0),
    "commonsense": ("pretrain", ("shards", "tokenizer"), 38.0),
    "stem": ("pretrain", ("commonsense", "shards", "tokenizer"), 40.0),
    "long_context": ("pretrain", ("stem", "shards", "tokenizer"), 17.0),
    "agentic_base": ("agentic_midtrain", ("long_context", "trajectories", "tokenizer"), 58.0),
    "assistant": ("sft", ("agentic_base", "trajectories", "tokenizer"), 9.0),
    "agent": ("rl", ("assistant", "tasks", "tokenizer"), 141.0),
    "scores.commonsense": ("evaluate", ("commonsense", "tasks", "shards"), 8.0),
    "scores.stem": ("evaluate", ("stem", "tasks", "shards"), 8.0),
    "scores.long_context": ("evaluate", ("long_context", "tasks", "shards"), 8.0),
    "scores.agentic_base": ("evaluate", ("agentic_base", "tasks", "shards"), 21.0),
    "scores.assistant": ("evaluate", ("assistant", "tasks", "shards"), 20.0),
    "scores.agent": ("evaluate", ("agent", "tasks", "shards"), 19.0),
    "release": (
        "export",
        ("agent", "tokenizer", *(f"scores.{c}" for c in ("assistant", "agent"))),
        7.0,
    ),
}
"""Step to its stage, inputs and seconds, in the order they run here."""

CHECKPOINTS = ("commonsense", "stem", "long_context", "agentic_base", "assistant", "agent")
FAMILIES = ("math", "deep_research", "tool_use", "code", "recovery_code")
QUESTIONS = {
    "math": "What is 823 * 46?",
    "deep_research": "What kind of thing is entry 823?",
    "tool_use": "What do 14 pieces of article 377 cost?",
    "code": "How many bytes are in 901.csv?",
}


@dataclass
class SampleHome:
    """Hold where the home is and what stands in it."""

    settings: Settings
    store: ArtifactStore
    catalog: Catalog
    now: float
    made: dict[str, Manifest] = field(default_factory=dict[str, Manifest])
    """Manifests by `<variant>/<step>`."""


def build(home: Path, *, now: float | None = None, catalog: str = "") -> SampleHome:
    """Write the home and return it; `catalog` is a URL where it is not the home's own file."""
    settings = Settings(home=home, catalog=catalog)
    sample = SampleHome(
        settings, open_store(settings), open_catalog(settings.catalog_url), now or time.time()
    )
    last = tuple(s for s in STAGES if s in {"agent", "scores.agent", "release"})
    _run(sample, "toy", "a", ago=93_000, executed=tuple(STAGES))
    _run(sample, "toy", "b", ago=9_000, executed=last, learning_rate=2e-4)
    _run(sample, "ci", "c", ago=7_000, executed=tuple(STAGES), speed=0.24)
    _run(sample, "ci", "d", ago=4_000, executed=tuple(STAGES), speed=0.24, fail="agent")
    _run(sample, "toy", "e", ago=229, executed=tuple(STAGES), stop_in="agentic_base")
    return sample


def run_id(variant: str, recipe: str = "toy") -> str:
    """Return the id of a sample run."""
    return f"20261124-0905{ord(variant) - 97:02d}-{recipe}-{variant}{variant}01"


def many(sample: SampleHome, count: int) -> None:
    """Add `count` finished runs of the same steps to the catalog."""
    import sqlalchemy as sa

    from components.catalog import tables

    runs, steps = [], []
    config = {"agent": {"learning_rate": 3e-4, "note": "x" * 4000}}
    for number in range(count):
        ident = f"20250101-{number:06d}-toy-beef"
        runs.append(
            {
                "id": ident,
                "recipe": "toy",
                "state": "done",
                "created": 1.73e9 + 600 * number,
                "ended": 1.73e9 + 600 * number + 480,
                "seconds": 480.0,
                "recipe_digest": "0" * 64,
                "resolved_config": config,
            }
        )
        for position, (step, (stage, _, seconds)) in enumerate(STAGES.items()):
            manifest = sample.made[f"a/{step}"]
            steps.append(
                {
                    "run_id": ident,
                    "step": step,
                    "position": position,
                    "stage": stage,
                    "key": manifest.key,
                    "state": "cached",
                    "started": 1.73e9,
                    "ended": 1.73e9 + seconds,
                    "digest": manifest.digest,
                    "attempt": 1,
                }
            )
    with sample.catalog.write() as connection:
        connection.execute(sa.insert(tables.pipeline_runs), runs)
        connection.execute(sa.insert(tables.step_runs), steps)


def _run(
    sample: SampleHome,
    recipe: str,
    variant: str,
    *,
    ago: float,
    executed: Iterable[str],
    learning_rate: float = 3e-4,
    speed: float = 1.0,
    fail: str = "",
    stop_in: str = "",
) -> None:
    ident = run_id(variant, recipe)
    created = sample.now - ago
    config = {
        "name": recipe,
        "corpus": {"sources": ["debian:wordnet-base", "debian:dict-gcide"], "heldout": 0.02},
        "tokenizer": {"vocab_size": 2048 if recipe == "toy" else 1024},
        "commonsense": {"tokens": 500_000, "seed": 0},
        "agentic_base": {"tokens": 480_000, "text_share": 0.2},
        "agent": {"steps": 50, "group_size": 8, "learning_rate": learning_rate},
        "resources": {"default": {"device": "cpu", "threads": 2}},
    }
    record.record_run(
        sample.catalog,
        ident,
        recipe=recipe,
        created=created,
        recipe_digest=hashlib.sha256(variant.encode()).hexdigest(),
        resolved_config=config,
        host="laptop",
        flow_run_id=f"00000000-0000-4000-8000-00000000000{ord(variant) - 97}",
    )
    links = {"prefect_flow_run": "f-1", "mlflow": "http://127.0.0.1:5000/#/experiments/1/runs/7"}
    text = json.dumps({"id": ident, "links": links})
    sample.store.objects.write(f"runs/{ident}/run.json", text.encode())
    at = created + 1.5
    over = False
    for position, (step, (stage, inputs, seconds)) in enumerate(STAGES.items()):
        shared = "a" if recipe == "toy" else "c"
        common: dict[str, Any] = {"position": position, "stage": stage}
        if over:
            record.record_step(sample.catalog, ident, step, state="pending", **common)
            continue
        if step not in executed:
            made = sample.made[f"{shared}/{step}"]
            sample.made[f"{variant}/{step}"] = made
            record.record_step(
                sample.catalog,
                ident,
                step,
                state="cached",
                key=made.key,
                digest=made.digest,
                reason="an equal artifact exists",
                attempt=1,
                **common,
            )
            continue
        key = hashlib.sha256(f"{variant}/{step}".encode()).hexdigest()
        took = seconds * speed
        if step in {fail, stop_in}:
            over = True
            _unfinished(sample, ident, step, key, at, failed=step == fail, common=common)
            continue
        _finished(sample, ident, step, key, (at, at + took), inputs, variant)
        record.record_step(
            sample.catalog,
            ident,
            step,
            state="done",
            key=key,
            started=at,
            ended=at + took,
            digest=sample.made[f"{variant}/{step}"].digest,
            attempt=1,
            reason="no artifact of this key exists",
            **common,
        )
        at += took + 0.2
    if fail:
        record.finish_run(sample.catalog, ident, "failed", cause=_CAUSE)
    elif not stop_in:
        record.finish_run(sample.catalog, ident, "done")
    if not stop_in:
        record.record_run(sample.catalog, ident, ended=at, seconds=at - created)


_CAUSE = "agent: the reward is not finite at step 31 (exit 4).\nLower agent.learning_rate."


def _unfinished(
    sample: SampleHome,
    ident: str,
    step: str,
    key: str,
    at: float,
    *,
    failed: bool,
    common: Mapping[str, Any],
) -> None:
    stage = str(common["stage"])
    attempt = sample.store.new_attempt(stage, key)
    _journal(attempt.journal, step, stage, share=0.42)
    attempt.log.write_text(f"{step}: starting\nloading the tokenizer\n")
    progress = {"time": time.time(), "pid": 1, "done": 118, "total": 280, "unit": "steps"}
    (attempt.path / "progress.json").write_text(json.dumps(progress))
    state: Any = "failed" if failed else "running"
    changes: dict[str, Any] = {"ended": at + 11, "cause": _CAUSE} if failed else {}
    record.record_step(
        sample.catalog,
        ident,
        step,
        state=state,
        key=key,
        started=at,
        attempt=1,
        reason="no artifact of this key exists",
        **common,
        **changes,
    )
    if failed:
        changes["exit_code"] = 4
    record.record_attempt(
        sample.catalog,
        key,
        1,
        stage=stage,
        run_id=ident,
        step=step,
        state=state,
        host="laptop",
        started=at,
        **changes,
    )


def _finished(
    sample: SampleHome,
    ident: str,
    step: str,
    key: str,
    span: tuple[float, float],
    inputs: Iterable[str],
    variant: str,
) -> None:
    stage = STAGES[step][0]
    number = 1
    if step == "agentic_base" and variant == "a":  # one attempt that was interrupted
        lost = sample.store.new_attempt(stage, key)
        _journal(lost.journal, step, stage, share=0.3)
        lost.log.write_text("agentic_base: starting\nterminated: resume point at step 80\n")
        record.record_attempt(
            sample.catalog,
            key,
            1,
            stage=stage,
            run_id=ident,
            step=step,
            state="stopped",
            host="laptop",
            started=span[0],
            ended=span[0] + 17,
            exit_code=143,
            cause="pre-empted; the resume point is saved",
        )
        number = 2
    attempt = sample.store.new_attempt(stage, key)
    attempt.files.mkdir()
    facts = _CONTENT.get(stage, _checkpoint)(attempt.files, step, variant)
    _journal(attempt.journal, step, stage, variant=variant)
    attempt.log.write_text(f"{step}: starting\n{step}: done\n")
    files = list_files(attempt.files)
    records = tuple(
        InputRecord(
            name="initial" if name in CHECKPOINTS else name,
            stage=STAGES[name][0],
            step=name,
            key=made.key,
            digest=made.digest,
        )
        for name in inputs
        for made in [sample.made.get(f"{variant}/{name}") or sample.made[f"a/{name}"]]
    )
    manifest = Manifest(
        stage=stage,
        step=step,
        key=key,
        digest=content_digest(files),
        facts=facts,
        config={"seed": 0},
        inputs=records,
        code_digest="c" * 64,
        code_modules={},
        packages={"torch": "2.13.0"},
        revisions={},
        numerics={"device": "cpu", "threads": 2},
        seed=0,
        files=files,
        attempt=number,
        fence=number,
        run=ident,
        host="laptop",
        started=span[0],
        ended=span[1],
    )
    assert sample.store.commit(manifest)
    sample.made[f"{variant}/{step}"] = manifest
    record.record_attempt(
        sample.catalog,
        key,
        number,
        stage=stage,
        run_id=ident,
        step=step,
        state="done",
        host="laptop",
        started=span[0],
        ended=span[1],
        exit_code=0,
    )
    record.record_artifact(sample.catalog, manifest, attempt.files.as_uri())


def _journal(
    directory: Path, step: str, stage: str, *, share: float = 1.0, variant: str = "a"
) -> None:
    journal = Journal(directory)
    journal.log(f"{step}: 2 threads, fp32")
    noise = random.Random(step + variant)
    if stage in {"pretrain", "agentic_midtrain", "sft"}:
        start = {"commonsense": 7.6, "stem": 4.4, "long_context": 3.6, "agentic_base": 3.9}
        top, steps = start.get(step, 1.6), 280
        for at in range(1, int(steps * share) + 1):
            loss = 0.35 * top + 0.65 * top * math.exp(-at / 60) + noise.gauss(0, 0.05 * top)
            journal.metric(
                at,
                train__loss=loss,
                perf__tokens_per_second=22_000 + noise.gauss(0, 900),
                optimizer__learning_rate=0.02 * min(1, at / 14),
            )
        if share < 1:
            journal.event("resume_point", step=int(steps * share))
    if stage == "rl":
        for at in range(1, int(50 * share) + 1):
            reward = (
                0.82 - 0.34 * math.exp(-at / (16 if variant == "a" else 10)) + noise.gauss(0, 0.025)
            )
            journal.metric(at, rl__reward=reward, rl__live_groups=12 + noise.gauss(0, 3))
    journal.progress(share, 1, "parts")
    journal.close()


def _checkpoint(files: Path, step: str, variant: str) -> dict[str, Any]:
    (files / "config.json").write_text(json.dumps({"hidden_size": 128}))
    (files / "model.safetensors").write_bytes(f"{variant}/{step}".encode() * 40_000)
    return {"steps": 280, "tokens_seen": 573_440, "loss_last": 2.412}


def _corpus(files: Path, step: str, variant: str) -> dict[str, Any]:
    texts = {
        "general": "The raven is a large black bird of the crow family.",
        "stem": "An eigenvalue is a scalar by which an eigenvector is scaled.",
        "code": "def area(radius):\n    return 3.14159 * radius**2\n",
    }
    for split, count in (("train", 24), ("heldout", 4)):
        (files / split).mkdir()
        for domain, text in texts.items():
            rows = [
                {
                    "id": hashlib.sha256(f"{split}{domain}{n}".encode()).hexdigest()[:16],
                    "source": {"general": "wordnet-base", "stem": "maxima-doc"}.get(
                        domain, "stdlib"
                    ),
                    "title": f"{domain} {n}",
                    "text": text * (n + 1),
                    "kind": "animal" if domain == "general" else "",
                    "references": ["raven"] if n % 3 == 0 else [],
                }
                for n in range(count * {"general": 3, "stem": 2}.get(domain, 1))
            ]
            parquet.write_table(
                pa.Table.from_pylist(sorted(rows, key=lambda row: row["id"])),
                files / split / f"{domain}.parquet",
            )
    report = {
        "sources": [
            {
                "source": name,
                "domain": domain,
                "revision": f"1.0-2 sha256:{hashlib.sha256(name.encode()).hexdigest()}",
                "fallback": False,
                "read": {"documents": 117_659, "bytes": 29_000_000},
                "kept": {"documents": 61_002, "bytes": 21_500_000},
                "dropped": {
                    "short": {"documents": 51_120, "bytes": 4_000_000},
                    "near_duplicate": {"documents": 2877, "bytes": 3_500_000},
                },
            }
            for name, domain in (("debian:wordnet-base", "general"), ("python:stdlib", "code"))
        ],
        "documents": {"train": {"general": 72, "stem": 48, "code": 24}, "heldout": {}},
        "bytes": {"train": {"general": 31_204, "stem": 9000, "code": 5000}, "heldout": {}},
    }
    (files / "report.json").write_text(json.dumps(report))
    return {"documents": 168, "bytes": 31_204, "dropped": 54_309}


def _trajectories(files: Path, step: str, variant: str) -> dict[str, Any]:
    for split, rounds in (("midtrain", 12), ("sft", 3)):
        lines = [
            json.dumps(conversation.to_json())
            for number in range(rounds)
            for conversation in conversations(number, split)
        ]
        (files / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return {"conversations": {"midtrain": 72, "sft": 18}, "dropped": {"unverified": 3}}


def conversations(number: int, split: str) -> Iterable[Conversation]:
    """Yield one conversation a family, and for code also the branch that fails and recovers."""
    product, entry = 823 + number, 411 + number
    yield Conversation(
        (
            Message("user", f"What is {product} * 46?"),
            Message("assistant", tool_calls=(_call("calculator", expression=f"{product}*46"),)),
            Message("tool", str(product * 46)),
            Message("assistant", str(product * 46)),
        ),
        task=f"math-{number}",
        family="math",
        id=f"{split}-math-{number}",
        split=split,
    )
    yield Conversation(
        (
            Message("user", f"What kind of thing is entry {entry}?"),
            Message(
                "assistant",
                reasoning="Analysis: an entry of the table.\nPlan: search, then open.",
                tool_calls=(_call("search", query=f"{entry}"),),
            ),
            Message("tool", f"{entry}: raven — see also crow <script>alert(1)</script>"),
            Message("assistant", tool_calls=(_call("open", key=f"{entry}"),)),
            Message("tool", "raven, n. A large black bird of the crow family. class: animal"),
            Message("assistant", "animal", reasoning="Summary: its class is animal."),
        ),
        task=f"look-{number}",
        family="deep_research",
        id=f"{split}-look-{number}",
        split=split,
        style="agentic_cot",
    )
    parent = f"{split}-code-{number}"
    ask = Message("user", f"How many bytes are in {901 + number}?")
    good = Message("assistant", tool_calls=(_call("bash", command=f"wc -c {901 + number}.csv"),))
    result, answer = Message("tool", f"4211 {901 + number}.csv"), Message("assistant", "4211")
    yield Conversation(
        (ask, good, result, answer), task=f"code-{number}", family="code", id=parent, split=split
    )
    if number % 2 == 0:
        wrong = Message(
            "assistant",
            tool_calls=(_call("bash", command=f"wc -c {901 + number}"),),
            trained=False,
        )
        error = Message("tool", f"wc: {901 + number}: No such file. Did you mean .csv?")
        yield Conversation(
            (ask, wrong, error, good, result, answer),
            task=f"code-{number}",
            family="code",
            id=f"{parent}-b1",
            split=split,
            branch=Branch(parent, 1, "missing_extension"),
        )


def _call(name: str, **arguments: str) -> ToolCall:
    return ToolCall(name, arguments)


def _scores(files: Path, step: str, variant: str) -> dict[str, Any]:
    checkpoint = step.removeprefix("scores.")
    level = CHECKPOINTS.index(checkpoint)
    greedy = (0.0, 0.0, 0.0, 0.622, 0.741, 0.853)[level] - (0.03 if variant == "c" else 0)
    greedy += 0.021 if variant == "b" else 0
    sampled = (0.0, 0.0, 0.0, 0.418, 0.502, 0.811)[level]
    n = 1000 if level > 2 else 250
    table = {
        "success/greedy": _score(max(0.0, greedy), n),
        "success/sampled": _score(sampled, n),
        "function_call": _score((0.0, 0.01, 0.0, 0.66, 0.79, 0.86)[level], 200),
        "planning": _score((0.02, 0.02, 0.03, 0.58, 0.64, 0.7)[level], 200),
        "multiple_choice": _score((0.27, 0.31, 0.34, 0.31, 0.3, 0.3)[level], 200),
        "recovery": _score((0.0, 0.0, 0.0, 0.35, 0.41, 0.47)[level], 100),
    }
    for place, domain in enumerate(("general", "stem", "code")):
        value = (2.68, 2.76, 2.62, 2.95, 2.98, 3.02)[level] + (0, 0.3, 0.55)[place]
        value -= (0, 0.1, 0.13)[place] * min(level, 2) * 2
        table[f"bits_per_byte/{domain}"] = {
            "value": value,
            "n": 120,
            "low": value - 0.05,
            "high": value + 0.05,
        }
    for place, family in enumerate(FAMILIES):
        share = min(1.0, max(0.0, greedy) * (1.1 - 0.11 * place))
        table[f"success/greedy/{family}"] = _score(share, n // 5)
    (files / "scores.json").write_text(json.dumps(table))
    items = [
        {"score": name, "id": f"test-{item}", "value": int(item * 7 % n < table[name]["value"] * n)}
        for name in ("success/greedy", "success/sampled")
        for item in range(n)
    ]
    (files / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    values = {name: entry["value"] for name, entry in table.items()}
    return {"scores": values, "items": 1, "split": "test", "infrastructure_failures": 0}


def _score(value: float, n: int) -> dict[str, float]:
    reach = 1.96 * math.sqrt(max(value * (1 - value), 0.25 / n) / n)
    return {
        "value": value,
        "n": n,
        "low": max(0.0, value - reach),
        "high": min(1.0, value + reach),
    }


_CONTENT = {"corpus": _corpus, "trajectories": _trajectories, "evaluate": _scores}
