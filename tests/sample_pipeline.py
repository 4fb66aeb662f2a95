"""A pipeline of four torch-free steps: `first` → `second` → `third`, and `aside`."""

from __future__ import annotations

import contextlib

from components.artifacts.identity import canonical_json, sha256_text
from components.contract import Resources
from flows.run import Job
from tests.sample_stages import COUNT, TABLE, CountConfig


def job(**changes) -> Job:
    """Ask for the pipeline; `first={"seed": 1}` changes a step, other names are job fields."""
    options = {k: changes.pop(k) for k in ("until", "new", "accept_stale") if k in changes}
    configs = {
        name: CountConfig(**{"upto": upto, **changes.get(name, {})})
        for name, upto in {"first": 2, "second": 3, "third": 4, "aside": 5}.items()
    }

    def pipeline(step):
        first = step("first", COUNT, configs["first"])
        second = step("second", COUNT, configs["second"], before=first)
        step("third", COUNT, configs["third"], before=second)
        return step("aside", COUNT, configs["aside"])

    resolved = {name: config.model_dump() for name, config in configs.items()}
    return Job(
        name="counting",
        pipeline=pipeline,
        resolved=resolved,
        identity=sha256_text(canonical_json(resolved)),
        resources_of=lambda _step: Resources(),
        table=TABLE,
        **options,
    )


@contextlib.contextmanager
def unwatched(run):
    """Show nothing."""
    yield
