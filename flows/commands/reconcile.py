"""`strata reconcile`: close what is dead, adopt what lives unwatched, fence strays."""

from __future__ import annotations

import time
from typing import Any

from components.settings import settings
from flows.abandoned import Finding
from flows.commands.output import emit, say
from flows.reconcile import Reconciler, to_json


def command(*, watch: float = 0.0, dry_run: bool = False, json: bool = False) -> None:
    """Compare run records, Jobs and heartbeats, and set right what is wrong.

    Parameters
    ----------
    watch
        Do it again every so many seconds, until ended; 0 does it once.
    dry_run
        Only say what is wrong.
    json
        Print JSON: one list of findings for each time.
    """
    here = settings()
    reconciler = Reconciler(here)
    told: list[Finding] = []
    try:
        while True:
            findings = reconciler.round(dry_run=dry_run)
            if json:
                emit(to_json(findings), compact=bool(watch))
            else:
                _tell([finding for finding in findings if finding not in told])
            told = findings
            if not watch:
                break
            time.sleep(watch)
    except KeyboardInterrupt:
        if not watch:
            raise
    finally:
        reconciler.close()
    if not told and not json and not watch:
        say("nothing to set right")


def _tell(findings: list[Any]) -> None:
    for finding in findings:
        print(finding, flush=True)
