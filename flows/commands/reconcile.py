"""`strata reconcile`: close what is dead, adopt what lives unwatched, fence strays."""

from __future__ import annotations

from components.settings import settings
from flows.commands.output import emit, say
from flows.reconcile import Reconciler, news, to_json


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
    reconciler = Reconciler(settings())
    try:
        if watch:
            rounds = reconciler.rounds(watch, dry_run=dry_run)
        else:
            rounds = iter([reconciler.round(dry_run=dry_run)])
        if json:
            for findings in rounds:
                emit(to_json(findings), compact=bool(watch))
            return
        nothing = True
        for finding in news(rounds):
            nothing = False
            print(finding, flush=True)
        if nothing:
            say("nothing to set right")
    except KeyboardInterrupt:
        if not watch:
            raise
    finally:
        reconciler.close()
