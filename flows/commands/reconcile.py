"""`strata reconcile`: close what died, adopt what was made, fence what should not live."""

from __future__ import annotations

import time
from dataclasses import asdict

from components.settings import settings
from flows.commands.output import emit, say, table
from flows.reconcile import Finding, reconcile


def command(*, watch: float = 0, dry_run: bool = False, json: bool = False) -> None:
    """Compare runs, attempts and Jobs, and make their records agree; a healthy run is not touched.

    Parameters
    ----------
    watch
        Seconds between two looks; without it one look is taken.
    dry_run
        Say what would be done, and do nothing.
    json
        Print JSON.
    """
    while True:
        findings = reconcile(settings(), dry_run=dry_run)
        if json:
            emit([asdict(finding) for finding in findings])
        else:
            _tell(findings, dry_run)
        if not watch:
            return
        time.sleep(watch)


def _tell(findings: list[Finding], dry_run: bool) -> None:
    if findings:
        rows = [[each.run, each.step or "–", each.action, each.why[:100]] for each in findings]
        print(table(["run", "step", "would be" if dry_run else "was", "why"], rows))
    else:
        say("all records agree")
