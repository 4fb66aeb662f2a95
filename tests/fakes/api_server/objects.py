"""What the fake API server keeps: objects with uid and version, and everything that happened."""

from __future__ import annotations

import copy
import datetime
import random
import string
import threading
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
FIRST_VERSION = 1
FOREGROUND = "foregroundDeletion"


@dataclass(frozen=True)
class Kind:
    """Describe one kind of object."""

    name: str
    api_version: str
    namespaced: bool = True
    generations: bool = False
    """Whether changes of the spec are counted."""

    def resource(self, plural: str) -> str:
        """Return what error messages call objects of this kind."""
        group = self.api_version.rpartition("/")[0]
        return f"{plural}.{group}" if group else plural

    @property
    def title(self) -> str:
        """Return what messages about invalid objects call this kind."""
        return self.resource(self.name)


KINDS = {
    "namespaces": Kind("Namespace", "v1", namespaced=False),
    "nodes": Kind("Node", "v1", namespaced=False),
    "pods": Kind("Pod", "v1", generations=True),
    "services": Kind("Service", "v1"),
    "configmaps": Kind("ConfigMap", "v1"),
    "secrets": Kind("Secret", "v1"),
    "events": Kind("Event", "v1"),
    "resourcequotas": Kind("ResourceQuota", "v1"),
    "jobs": Kind("Job", "batch/v1", generations=True),
    "leases": Kind("Lease", "coordination.k8s.io/v1"),
}


class Refused(Exception):
    """Answer with an HTTP code, a reason and a message."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


@dataclass(frozen=True)
class Change:
    """Tell one change: the object before it (None: new) and after it (None: gone)."""

    version: int
    plural: str
    before: Object | None
    after: Object | None


def stamp(seconds: float = 0.0) -> str:
    """Return a time as the API writes it, `seconds` from now."""
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


class Objects:
    """Keep objects and their history; every change raises the version by one."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.version = FIRST_VERSION
        self.oldest = 0
        """Versions up to this one are forgotten: a watch from there is gone (410)."""
        self.history: list[Change] = []
        self._held: dict[tuple[str, str, str], Object] = {}

    def get(self, plural: str, namespace: str, name: str) -> Object:
        """Return an object; raises Refused 404."""
        found = self._held.get((plural, namespace, name))
        if found is None:
            resource = KINDS[plural].resource(plural)
            raise Refused(404, "NotFound", f'{resource} "{name}" not found')
        return found

    def all(self, plural: str, namespace: str = "") -> Iterator[Object]:
        """Yield objects of a kind, by namespace and name."""
        for (kind, place, _), found in sorted(self._held.items()):
            if kind == plural and namespace in {"", place}:
                yield found

    @contextmanager
    def rehearsal(self) -> Generator[None]:
        """Undo in the end what the body does; hold the lock meanwhile."""
        held, version, length = dict(self._held), self.version, len(self.history)
        try:
            yield
        finally:
            self._held, self.version = held, version
            del self.history[length:]

    def since(self, version: int) -> list[Change]:
        """Return what has changed after a version."""
        return self.history[max(0, version - FIRST_VERSION) :]

    def create(self, plural: str, namespace: str, body: Object) -> Object:
        """Keep a new object; raises Refused 409 where one of its name is there."""
        made = copy.deepcopy(body)
        metadata = made.setdefault("metadata", {})
        if not metadata.get("name"):
            suffix = "".join(random.choices(string.ascii_lowercase + string.digits, k=5))
            metadata["name"] = metadata.get("generateName", "") + suffix
        name = metadata["name"]
        if (plural, namespace, name) in self._held:
            resource = KINDS[plural].resource(plural)
            raise Refused(409, "AlreadyExists", f'{resource} "{name}" already exists')
        kind = KINDS[plural]
        made["kind"], made["apiVersion"] = kind.name, kind.api_version
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": stamp()}
        if kind.generations:
            metadata["generation"] = 1
        if namespace:
            metadata["namespace"] = namespace
        with self.lock:
            self._held[plural, namespace, name] = made
            self._note(plural, None, made)
        return made

    def replace(self, plural: str, old: Object, new: Object) -> Object:
        """Put a changed object in place of the old one, unless it names another version."""
        metadata = new["metadata"]
        wanted, there = metadata.get("resourceVersion"), old["metadata"]["resourceVersion"]
        if wanted and wanted != there:
            raise Refused(
                409,
                "Conflict",
                f"Operation cannot be fulfilled on {KINDS[plural].resource(plural)} "
                f'"{metadata["name"]}": the object has '
                "been modified; please apply your changes to the latest version and try again",
            )
        for fixed in ("uid", "creationTimestamp", "name", "namespace"):
            if fixed in old["metadata"]:
                metadata[fixed] = old["metadata"][fixed]
        if new == old:
            return old
        if KINDS[plural].generations and new.get("spec") != old.get("spec"):
            metadata["generation"] = old["metadata"]["generation"] + 1
        key = (plural, metadata.get("namespace", ""), metadata["name"])
        self._held[key] = new
        if metadata.get("deletionTimestamp") and not self._is_held_back(plural, new):
            self.remove(plural, new)
        else:
            self._note(plural, old, new)
        return new

    def change(self, plural: str, thing: Object, **parts: Any) -> Object:
        """Lay parts (`status`, `spec`, `metadata`) over an object as it is now."""
        metadata = thing["metadata"]
        now = self._held.get((plural, metadata.get("namespace", ""), metadata["name"]))
        if now is None or now["metadata"]["uid"] != metadata["uid"]:
            return thing  # it has gone meanwhile
        return self.replace(plural, now, merge(now, parts))

    def remove(self, plural: str, thing: Object) -> None:
        """Forget an object, and what belongs to it alone."""
        metadata = thing["metadata"]
        key = (plural, metadata.get("namespace", ""), metadata["name"])
        if self._held.pop(key, None) is None:
            return
        self._note(plural, thing, None)
        for key, each in list(self._held.items()):
            if metadata["uid"] in owners(each) and key in self._held:
                self.delete(key[0], each)

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
        if plural == "namespaces":
            self.change(
                plural,
                thing,
                metadata={"deletionTimestamp": stamp(), "finalizers": ["kubernetes"]},
                status={"phase": "Terminating"},
            )
            return
        if plural == "jobs" and policy == "Foreground":
            held = {"deletionTimestamp": stamp(), "finalizers": [FOREGROUND]}
            if not metadata.get("deletionTimestamp"):
                thing = self.change("jobs", thing, metadata=held)
            for pod in [p for p in self.all("pods", namespace) if metadata["uid"] in owners(p)]:
                if not pod["metadata"].get("deletionTimestamp"):
                    self.delete("pods", pod)
            return
        if metadata.get("finalizers"):
            self.hold(plural, thing)
            return
        self.remove(plural, thing)

    def hold(self, plural: str, thing: Object) -> None:
        """Mark an object that only its finalizers keep."""
        times: Object = {"deletionTimestamp": thing["metadata"].get("deletionTimestamp", stamp())}
        if plural == "pods":
            times["deletionGracePeriodSeconds"] = 0
        self.change(plural, thing, metadata=times)

    def let_go(self, plural: str, thing: Object, finalizer: str) -> None:
        """Take a finalizer away."""
        rest = {"$deleteFromPrimitiveList/finalizers": [finalizer]}
        self.change(plural, thing, metadata=rest)

    def inside(self, namespace: str) -> list[tuple[str, Object]]:
        """Return every object of a namespace, with the plural of its kind."""
        held = self._held.items()
        return [(plural, each) for (plural, place, _), each in held if place == namespace]

    def _is_held_back(self, plural: str, thing: Object) -> bool:
        waits = plural == "pods" and thing["metadata"].get("deletionGracePeriodSeconds")
        return bool(thing["metadata"].get("finalizers") or waits)

    def _note(self, plural: str, before: Object | None, after: Object | None) -> None:
        self.version += 1
        if after is not None:
            after["metadata"]["resourceVersion"] = str(self.version)
            after = copy.deepcopy(after)
        self.history.append(Change(self.version, plural, copy.deepcopy(before), after))
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
    containers by name, finalizers are added, and every other list is replaced.
    """
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif name == "$deleteFromPrimitiveList/finalizers":
            merged["finalizers"] = [f for f in merged.get("finalizers") or [] if f not in value]
        elif name == "finalizers":
            merged[name] = list(dict.fromkeys([*(merged.get(name) or []), *value]))
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
