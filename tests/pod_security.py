"""Kubernetes' Pod Security Standard "restricted", written down as a check of a pod's spec.

Covers the controls of "baseline" and "restricted" that a manifest can break; what they forbid and
we never write (Windows host processes, AppArmor and SELinux options) is refused whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
PROFILES = {"RuntimeDefault", "Localhost"}


def violations(spec: Mapping[str, Any]) -> list[str]:
    """List what keeps a pod's spec from being admitted under "restricted"."""
    return [*_of_pod(spec), *(v for c in containers(spec) for v in _of_container(spec, c))]


def containers(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List every container of a pod, whatever its kind."""
    kinds = ("containers", "initContainers", "ephemeralContainers")
    return [container for kind in kinds for container in spec.get(kind, ())]


def _of_pod(spec: Mapping[str, Any]) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield f"pod: {name}"
    for volume in spec.get("volumes", ()):
        if kinds := set(volume) - {"name"} - VOLUMES:
            yield f"pod: volume {volume['name']} is of kind {', '.join(sorted(kinds))}"
    context = spec.get("securityContext", {})
    if context.get("sysctls"):
        yield "pod: sysctls"
    yield from _options("pod", context)


def _of_container(spec: Mapping[str, Any], container: Mapping[str, Any]) -> Iterator[str]:
    name = container["name"]
    pod, own = spec.get("securityContext", {}), container.get("securityContext", {})
    if own.get("privileged"):
        yield f"{name}: privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation is not false"
    if own.get("procMount", "Default") != "Default":
        yield f"{name}: procMount"
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield f"{name}: runAsNonRoot is not true"
    if own.get("runAsUser", pod.get("runAsUser")) == 0:
        yield f"{name}: runAsUser is 0"
    profile = own.get("seccompProfile", pod.get("seccompProfile", {})).get("type")
    if profile not in PROFILES:
        yield f"{name}: seccompProfile is {profile}"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", ()):
        yield f"{name}: capabilities are not all dropped"
    if set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield f"{name}: capabilities are added"
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield f"{name}: hostPort"
    yield from _options(name, own)


def _options(where: str, context: Mapping[str, Any]) -> Iterator[str]:
    for option in ("appArmorProfile", "seLinuxOptions", "windowsOptions"):
        if option in context:
            yield f"{where}: {option}"
