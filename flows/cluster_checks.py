"""What `strata doctor` looks at where steps go to a cluster: way, rights, and what stages read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.contract import StageFailure
from components.settings import Settings

if TYPE_CHECKING:
    from components.execution.cluster_api import ClusterApi

Result = tuple[str, str, str]

RIGHTS = (
    *((verb, "batch", "jobs", "") for verb in ("create", "get", "list", "watch", "delete")),
    *((verb, "", "services", "") for verb in ("create", "delete", "patch")),
    *((verb, "", "pods", "") for verb in ("list", "watch", "delete")),
    ("get", "", "pods", "log"),
    ("list", "", "events", ""),
)
"""Verb, group, resource and subresource of every call that the launcher makes."""


def cluster(here: Settings) -> Result:
    """Check that the cluster answers, and that it lets us do what the launcher does."""
    from components.execution.cluster_settings import read_cluster

    try:
        described = read_cluster(here)
        described.image_for_pods()
        api = _open(here)
        version = api.version()
        denied = [name for right in RIGHTS if (name := _denied(api, right))]
        missing = api.missing_for_stages()
    except StageFailure as error:
        first, *rest = str(error).splitlines()
        return "fault", first, rest[0] if rest else "correct the file that STRATA_CLUSTER names"
    found = f"Kubernetes {version}, namespace {described.namespace}"
    if denied:
        repair = "apply infra/kubernetes/base/rbac.yaml, or ask for a Role with these rights"
        return "fault", f"{found}: you may not {', '.join(denied)}", repair
    if missing:
        repair = f"create {' and '.join(missing)}; docs/operations.md says what they hold"
        return "fault", f"{found}: {' and '.join(missing)} missing", repair
    return "ok", found, ""


def _open(here: Settings) -> ClusterApi:
    from components.execution.cluster_api import ClusterApi
    from components.execution.cluster_settings import read_cluster

    return ClusterApi(read_cluster(here))


def _denied(api: ClusterApi, right: tuple[str, str, str, str]) -> str:
    verb, group, resource, subresource = right
    if api.may(verb, group, resource, subresource):
        return ""
    return f"{verb} {resource}" + (f"/{subresource}" if subresource else "")
