"""What the fake API server keeps: objects with uid and version, and everything that happened."""

from __future__ import annotations

import copy
import datetime
import random
import string
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """Describe one kind of object."""

    name: str
    api_version: str
    namespaced: bool = True


KINDS = {
    "namespaces": Kind("Namespace", "v1", namespaced=False),
    "nodes": Kind("Node", "v1", namespaced=False),
    "pods": Kind("Pod", "v1"),
    "services": Kind("Service", "v1"),
    "configmaps": Kind("ConfigMap", "v1"),
    "secrets": Kind("Secret", "v1"),
    "events": Kind("Event", "v1"),
    "resourcequotas": Kind("ResourceQuota", "v1"),
    "jobs": Kind("Job", "batch/v1"),
    "leases": Kind("Lease", "coordination.k8s.io/v1"),
}


class Refused(Exception):
    """Answer with an HTTP code, a reason and a message."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


def stamp(seconds: float = 0.0) -> str:
    """Return a time as the API writes it, `seconds` from now."""
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


class Objects:
    """Keep objects and their history; every change raises the version by one."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.version = 1
        self.oldest = 0
        """Versions up to this one are forgotten: a watch from there is gone (410)."""
        self.history: list[tuple[int, str, str, Object]] = []
        self._held: dict[tuple[str, str, str], Object] = {}

    def get(self, plural: str, namespace: str, name: str) -> Object:
        """Return an object; raises Refused 404."""
        found = self._held.get((plural, namespace, name))
        if found is None:
            group = "" if "/" not in KINDS[plural].api_version else ".batch"
            raise Refused(404, "NotFound", f'{plural}{group} "{name}" not found')
        return found

    def all(self, plural: str, namespace: str = "") -> Iterator[Object]:
        """Yield objects of a kind, by namespace and name."""
        for (kind, place, _), found in sorted(self._held.items()):
            if kind == plural and namespace in {"", place}:
                yield found

    def create(self, plural: str, namespace: str, body: Object, *, dry: bool = False) -> Object:
        """Keep a new object; raises Refused 409 where one of its name is there."""
        made = copy.deepcopy(body)
        metadata = made.setdefault("metadata", {})
        if not metadata.get("name"):
            suffix = "".join(random.choices(string.ascii_lowercase + string.digits, k=5))
            metadata["name"] = metadata.get("generateName", "") + suffix
        name = metadata["name"]
        if (plural, namespace, name) in self._held:
            raise Refused(409, "AlreadyExists", f'{plural} "{name}" already exists')
        made["kind"], made["apiVersion"] = KINDS[plural].name, KINDS[plural].api_version
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": stamp(), "generation": 1}
        if namespace:
            metadata["namespace"] = namespace
        if not dry:
            with self.lock:
                self._held[plural, namespace, name] = made
                self._note(plural, "ADDED", made)
        return made

    def replace(self, plural: str, old: Object, new: Object) -> Object:
        """Put a changed object in place of the old one, unless it names another version."""
        metadata = new["metadata"]
        wanted, there = metadata.get("resourceVersion"), old["metadata"]["resourceVersion"]
        if wanted and wanted != there:
            raise Refused(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {plural} "{metadata["name"]}": the object has '
                "been modified; please apply your changes to the latest version and try again",
            )
        for fixed in ("uid", "creationTimestamp", "name", "namespace"):
            if fixed in old["metadata"]:
                metadata[fixed] = old["metadata"][fixed]
        if new == old:
            return old
        if new.get("spec") != old.get("spec"):
            metadata["generation"] = old["metadata"].get("generation", 1) + 1
        key = (plural, metadata.get("namespace", ""), metadata["name"])
        self._held[key] = new
        if metadata.get("deletionTimestamp") and not self._is_held_back(plural, new):
            self.remove(plural, new)
        else:
            self._note(plural, "MODIFIED", new)
        return new

    def change(self, plural: str, thing: Object, **parts: Any) -> Object:
        """Lay parts (`status`, `spec`, `metadata`) over an object."""
        return self.replace(plural, thing, merge(thing, parts))

    def remove(self, plural: str, thing: Object) -> None:
        """Forget an object, and what belongs to it alone."""
        metadata = thing["metadata"]
        key = (plural, metadata.get("namespace", ""), metadata["name"])
        if self._held.pop(key, None) is None:
            return
        self._note(plural, "DELETED", thing)
        for kind in ("pods", "services"):
            for each in list(self.all(kind, metadata.get("namespace", ""))):
                if metadata["uid"] in owners(each):
                    self.delete(kind, each)

    def delete(
        self, plural: str, thing: Object, *, grace: float | None = None, policy: str = "Background"
    ) -> None:
        """Begin to delete: a pod that a node holds first gets its grace period, and with
        `Foreground` an object waits for what belongs to it.
        """
        metadata = thing["metadata"]
        namespace = metadata.get("namespace", "")
        if plural == "pods":
            phase = thing.get("status", {}).get("phase")
            if grace is None:
                grace = float(thing["spec"].get("terminationGracePeriodSeconds", 30))
            if not thing["spec"].get("nodeName") or phase in {"Succeeded", "Failed"}:
                grace = 0.0
            if grace > 0:
                known = metadata.get("deletionGracePeriodSeconds")
                if known is None or grace < known:
                    times = {
                        "deletionTimestamp": stamp(grace),
                        "deletionGracePeriodSeconds": int(grace),
                    }
                    self.change("pods", thing, metadata=times)
                return
        if plural == "jobs" and policy == "Foreground":
            held = {"deletionTimestamp": stamp(), "finalizers": ["foregroundDeletion"]}
            if not metadata.get("deletionTimestamp"):
                thing = self.change("jobs", thing, metadata=held)
            for pod in [p for p in self.all("pods", namespace) if metadata["uid"] in owners(p)]:
                if not pod["metadata"].get("deletionTimestamp"):
                    self.delete("pods", pod)
            return
        if metadata.get("finalizers"):
            if not metadata.get("deletionTimestamp"):
                self.change(plural, thing, metadata={"deletionTimestamp": stamp()})
            return
        self.remove(plural, thing)

    def _is_held_back(self, plural: str, thing: Object) -> bool:
        waits = plural == "pods" and thing["metadata"].get("deletionGracePeriodSeconds")
        return bool(thing["metadata"].get("finalizers") or waits)

    def _note(self, plural: str, event: str, thing: Object) -> None:
        self.version += 1
        thing["metadata"]["resourceVersion"] = str(self.version)
        self.history.append((self.version, plural, event, copy.deepcopy(thing)))
        self.changed.notify_all()


def owners(thing: Object) -> set[str]:
    """Return the uids of what an object belongs to."""
    return {each["uid"] for each in thing["metadata"].get("ownerReferences") or []}


def condition(thing: Object, kind: str) -> Object | None:
    """Return a condition that holds."""
    for each in thing.get("status", {}).get("conditions") or []:
        if each["type"] == kind and each["status"] == "True":
            return each
    return None


def merge(old: Any, patch: Any) -> Any:
    """Lay a patch over a value: None removes a field; conditions merge by type, statuses of
    containers by name, and every other list is replaced.
    """
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif name in {"conditions", "containerStatuses"} and isinstance(value, list):
            merged[name] = _merge_list(
                merged.get(name) or [], value, "type" if name == "conditions" else "name"
            )
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def _merge_list(old: list[Object], patch: list[Object], key: str) -> list[Object]:
    merged = {each[key]: each for each in old}
    for each in patch:
        # A container has one state at a time.
        known = {} if "state" in each else merged.get(each[key], {})
        merged[each[key]] = merge(known, each)
    return list(merged.values())
