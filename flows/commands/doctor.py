"""`strata doctor`: check this machine, and say for each fault how it is repaired."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from components.contract import EnvironmentMissing
from components.settings import settings
from flows.checks import CHECKS
from flows.commands.output import emit


@dataclass(frozen=True)
class Finding:
    """Hold the result of one check; `repair` is empty where all is well."""

    check: str
    state: str
    """`ok`, `note` (works, with less) or `fault`."""
    found: str
    repair: str = ""


def doctor(*, json: bool = False) -> None:
    """Check Python, packages, sandbox, disk, store, catalog, servers, ports, and the cluster where
    one is set; exits 3 on a fault.

    Parameters
    ----------
    json
        Print JSON.
    """
    here = settings()
    checks = dict(CHECKS)
    if here.launcher == "kubernetes" or here.cluster:
        from flows.cluster_checks import cluster

        checks["cluster"] = cluster
    findings = [Finding(name, *check(here)) for name, check in checks.items()]
    if json:
        emit([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            print(f"{finding.state:5} {finding.check:10} {finding.found}")
            if finding.repair:
                print(f"{'':17}→ {finding.repair}")
    faults = [finding for finding in findings if finding.state == "fault"]
    if faults:
        raise EnvironmentMissing(
            f"{len(faults)} of {len(findings)} checks found a fault: "
            + ", ".join(finding.check for finding in faults)
        )
