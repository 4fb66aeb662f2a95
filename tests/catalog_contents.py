"""What a catalog says, in a form that two of them can be compared in."""

from __future__ import annotations

from components.artifacts.store import ArtifactStore
from components.catalog import queries
from components.catalog.rebuild import rebuild
from components.catalog.session import open_catalog


def contents(url: str) -> dict[str, list[object]]:
    """Return all that the store knows too: everything but events and the clocks of attempts."""
    catalog = open_catalog(url)
    runs = queries.runs(catalog)
    artifacts = sorted(queries.artifacts(catalog), key=lambda a: a.key)
    attempts = {
        (a.key, a.number, a.state, a.exit_code, a.cause, a.step, a.run_id)
        for run in runs
        for a in queries.attempts_of_run(catalog, run.id)
    }
    found: dict[str, list[object]] = {
        "runs": [*runs],
        "steps": [step for run in runs for step in queries.steps(catalog, run.id)],
        "attempts": sorted(attempts),
        "artifacts": [*artifacts],
        "edges": [edge for a in artifacts for edge in queries.inputs(catalog, a.key)],
    }
    catalog.close()
    return found


def rebuilt(url: str, store: ArtifactStore) -> dict[str, list[object]]:
    """Make the catalog again from the store and return what it says then."""
    catalog = open_catalog(url)
    rebuild(catalog, store)
    catalog.close()
    return contents(url)
