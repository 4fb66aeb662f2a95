"""Which objects a request asks for, by labels and by fields."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.fakes.api_server.objects import Object, Refused

FIELDS = {
    "pods": {"spec.nodeName", "status.phase"},
    "events": {"involvedObject.name", "involvedObject.kind", "involvedObject.uid", "reason"},
}
SET = re.compile(r"^(\S+)\s+(in|notin)\s+\(([^()]*)\)$")
PAIR = re.compile(r"^([^!=\s]+)\s*(!=|==|=)\s*([^!=\s]*)$")
NAME = re.compile(r"^!?\s*[^!=\s()]+$")


def selection(plural: str, options: dict[str, str]) -> Callable[[Object], bool]:
    """Return the test that `labelSelector` and `fieldSelector` ask for; raises Refused 400."""
    tests = [_label(term) for term in _terms(options.get("labelSelector", ""))]
    tests += [_field(plural, term) for term in _terms(options.get("fieldSelector", ""))]
    return lambda thing: all(test(thing) for test in tests)


def _terms(text: str) -> list[str]:
    """Split at the commas outside of parentheses."""
    return [term.strip() for term in re.split(r",(?![^(]*\))", text) if term.strip()]


def _label(term: str) -> Callable[[Object], bool]:
    if matched := SET.match(term):
        name, operator, listed = matched.groups()
        values = {value.strip() for value in listed.split(",")}
        return lambda thing: (_labels(thing).get(name) in values) == (operator == "in")
    if matched := PAIR.match(term):
        name, operator, value = matched.groups()
        return lambda thing: (_labels(thing).get(name) == value) == (operator != "!=")
    if NAME.match(term):
        name = term.removeprefix("!").strip()
        return lambda thing: (name in _labels(thing)) != term.startswith("!")
    raise Refused(400, "BadRequest", f"unable to parse requirement: {term}")


def _field(plural: str, term: str) -> Callable[[Object], bool]:
    matched = PAIR.match(term)
    if matched is None:
        raise Refused(400, "BadRequest", f"invalid selector: {term}")
    path, operator, value = matched.groups()
    if path not in {"metadata.name", "metadata.namespace", *FIELDS.get(plural, set())}:
        raise Refused(400, "BadRequest", f"field label not supported: {path}")

    def fits(thing: Object) -> bool:
        found: Any = thing
        for part in path.split("."):
            found = (found or {}).get(part)
        return ((found or "") == value) == (operator != "!=")

    return fits


def _labels(thing: Object) -> dict[str, str]:
    return thing["metadata"].get("labels") or {}
