"""The fake API server over HTTP: what the `kubernetes` client asks for, and a switch for faults.

What it claims stands in `tests/cluster/conformance.py`, each behaviour a test that a real control
plane passes too. It is left out: every other kind and field, defaults that nothing here reads,
merge and JSON patches (each patch counts as a strategic one), orphaning deletion, disruption
budgets, priorities, affinity and the growing pauses between a Job's retries.
"""

from __future__ import annotations

import base64
import copy
import json
import re
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

from tests.fakes.api_server.controllers import Clock, Controllers, refuse_over_quota
from tests.fakes.api_server.objects import KINDS, Change, Object, Objects, Refused, merge
from tests.fakes.api_server.selectors import selection

NAMESPACES = ("default", "kube-system", "kube-node-lease")
TOKEN = "fake-admin"
NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
LABEL = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")


class Faults:
    """Play what can be wrong with an API server."""

    def __init__(self) -> None:
        self.away_until = 0.0
        self.error_until = 0.0
        self.slow_seconds = 0.0
        self.watch_generation = 0
        self.denied: set[tuple[str, str]] = set()
        """Verbs and resources that an access review denies."""

    def away(self, seconds: float) -> None:
        """Cut every connection for a while."""
        self.away_until = time.monotonic() + seconds
        self.drop_watches()

    def errors(self, seconds: float) -> None:
        """Answer 503 for a while."""
        self.error_until = time.monotonic() + seconds

    def drop_watches(self) -> None:
        """End the watches that are open."""
        self.watch_generation += 1


class FakeApiServer:
    """Serve one cluster on a loopback port; start it by entering it."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.objects = Objects()
        self.faults = Faults()
        self.tokens = {TOKEN}
        self.pages: dict[str, tuple[int, list[Object]]] = {}
        self._controllers = Controllers(self.objects, clock or Clock())
        self._server = _Server(("127.0.0.1", 0), self._handler())

    @property
    def url(self) -> str:
        """Address of the API."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakeApiServer:
        for name in NAMESPACES:
            self.objects.create("namespaces", "", {"metadata": {"name": name}})
        self.forget_history()
        self._controllers.start()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controllers.close()
        self.faults.drop_watches()
        self._server.shutdown()
        self._server.server_close()

    def forget_history(self) -> None:
        """Make every version before now too old to watch from (410)."""
        with self.objects.lock:
            self.objects.oldest = self.objects.version
            self.faults.drop_watches()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(_Handler):
            server_of = api

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients cut watches and logs as they like."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: FakeApiServer

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def do_PATCH(self) -> None:
        self._answer("PATCH")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def log_message(self, format: str, *args: object) -> None:
        del format, args

    def _answer(self, verb: str) -> None:
        faults = self.server_of.faults
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        if time.monotonic() < faults.away_until:
            self.close_connection = True
            return
        time.sleep(faults.slow_seconds)
        try:
            if time.monotonic() < faults.error_until:
                raise Refused(503, "ServiceUnavailable", "the fake is told to be unavailable")
            if self.headers.get("Authorization", "") not in self._known():
                raise Refused(401, "Unauthorized", "Unauthorized")
            self._route(verb, json.loads(body) if body else {})
        except Refused as error:
            self._send(error.code, status_of(error))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _known(self) -> set[str]:
        return {f"Bearer {token}" for token in self.server_of.tokens}

    def _route(self, verb: str, body: Any) -> None:
        asked = urlparse(self.path)
        options = {name: values[0] for name, values in parse_qs(asked.query).items()}
        parts = asked.path.strip("/").split("/")
        if parts == ["version"]:
            self._send(200, {"major": "1", "minor": "36", "gitVersion": "v1.36.0-fake"})
            return
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        if rest == ["selfsubjectaccessreviews"]:
            self._review(body)
            return
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        plural, name, sub = (*rest, "", "")[:3]
        if plural not in KINDS:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        if sub == "log":
            self._log(namespace, name, options)
        elif verb == "GET" and not name:
            self._collection(plural, namespace, options)
        else:
            objects = self.server_of.objects
            dry = objects.rehearsal() if options.get("dryRun") == "All" else nullcontext()
            with objects.lock, dry:
                code, answer = self._one(verb, (plural, namespace, name, sub), body, options)
                data = json.dumps(answer, default=str).encode()
            self._send_bytes(code, data)

    def _one(
        self, verb: str, place: tuple[str, str, str, str], body: Any, options: dict[str, str]
    ) -> tuple[int, Object]:
        plural, namespace, name, sub = place
        objects = self.server_of.objects
        if verb == "POST" and not name:
            return 201, self._create(plural, namespace, body)
        thing = objects.get(plural, namespace, name)
        if verb == "GET":
            return 200, thing
        if verb == "DELETE":
            self._delete(plural, thing, body, options)
            return 200, thing
        if (plural, sub) in {("pods", "binding"), ("pods", "eviction")}:
            if sub == "binding":
                self.server_of._controllers.bind(thing, body["target"]["name"])
            else:
                self.server_of._controllers.evict(thing)
            return 201, {"kind": "Status", "status": "Success"}
        if sub not in {"", "status"}:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        new = body if verb == "PUT" else merge(thing, body)
        wanted = new["metadata"].get("uid")
        if wanted and wanted != thing["metadata"]["uid"]:
            raise Refused(409, "Conflict", "Precondition failed: UID in precondition differs")
        if sub == "status":
            new = {**thing, "status": new.get("status", {}), "metadata": new["metadata"]}
        elif plural == "jobs" and new["spec"].get("template") != thing["spec"].get("template"):
            raise Refused(422, "Invalid", f'Job.batch "{name}" is invalid: field is immutable')
        return 200, objects.replace(plural, thing, new)

    def _create(self, plural: str, namespace: str, body: Object) -> Object:
        objects = self.server_of.objects
        if namespace:
            place = objects.get("namespaces", "", namespace)
            if place["metadata"].get("deletionTimestamp"):
                told = f"unable to create new content in namespace {namespace}"
                raise Refused(403, "Forbidden", f"{told} because it is being terminated")
        refuse_invalid(plural, body)
        if plural == "jobs":
            body = merge({"spec": {"backoffLimit": 6, "completions": 1, "parallelism": 1}}, body)
        if plural == "pods":
            refuse_over_quota(objects, namespace, body["spec"], body["metadata"].get("name", ""))
            body = {**body, "status": {"phase": "Pending"}}
        if plural == "secrets" and "stringData" in body:
            body = _encoded(body)
        return objects.create(plural, namespace, body)

    def _delete(self, plural: str, thing: Object, body: Object, options: dict[str, str]) -> None:
        wanted = (body.get("preconditions") or {}).get("uid")
        if wanted and wanted != thing["metadata"]["uid"]:
            raise Refused(409, "Conflict", "Precondition failed: UID in precondition differs")
        said = body or options  # options in the address count only where there is no body
        grace = said.get("gracePeriodSeconds")
        policy = said.get("propagationPolicy") or "Background"
        if policy not in {"Background", "Foreground"}:
            raise Refused(501, "NotImplemented", f"the fake does not know {policy}")
        seconds = None if grace is None else float(grace)
        self.server_of.objects.delete(plural, thing, grace=seconds, policy=policy)

    def _collection(self, plural: str, namespace: str, options: dict[str, str]) -> None:
        if options.get("watch") in {"true", "True", "1"}:
            self._watch(plural, namespace, options)
            return
        kind = KINDS[plural]
        with self.server_of.objects.lock:
            page, metadata = self._page(plural, namespace, options)
            answer = {
                "kind": f"{kind.name}List",
                "apiVersion": kind.api_version,
                "metadata": metadata,
                "items": page,
            }
            data = json.dumps(answer, default=str).encode()
        self._send_bytes(200, data)

    def _page(
        self, plural: str, namespace: str, options: dict[str, str]
    ) -> tuple[list[Object], Object]:
        """Return one page of a list; what is left is kept as it was at its first page."""
        objects, pages = self.server_of.objects, self.server_of.pages
        if token := options.get("continue"):
            if token not in pages:
                raise Refused(400, "BadRequest", "continue key is not valid")
            version, found = pages[token]
        else:
            fits = selection(plural, options)
            version, found = objects.version, list(filter(fits, objects.all(plural, namespace)))
        limit = int(options.get("limit") or 0) or len(found)
        metadata: Object = {"resourceVersion": str(version)}
        if rest := copy.deepcopy(found[limit:]):
            metadata["continue"] = f"{plural}-{version}-{len(pages)}"
            pages[metadata["continue"]] = (version, rest)
        return found[:limit], metadata

    def _watch(self, plural: str, namespace: str, options: dict[str, str]) -> None:
        objects, faults = self.server_of.objects, self.server_of.faults
        fits, generation = selection(plural, options), faults.watch_generation
        until = time.monotonic() + float(options.get("timeoutSeconds") or 1800)
        since = int(options.get("resourceVersion") or 0)
        with objects.lock:
            there = [] if since else copy.deepcopy(list(objects.all(plural, namespace)))
            since = since or objects.version
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if since < objects.oldest:
            told = f"too old resource version: {since} ({objects.oldest})"
            self._line({"type": "ERROR", "object": status_of(Refused(410, "Expired", told))})
            self._chunk(b"")
            return
        for thing in filter(fits, there):
            self._line({"type": "ADDED", "object": thing})
        told_at = time.monotonic()
        while time.monotonic() < until and generation == faults.watch_generation:
            with objects.lock:
                if objects.version <= since:
                    objects.changed.wait(0.5)
                fresh = objects.since(since)
                since = objects.version
            for change in fresh:
                if event := _event(change, plural, namespace, fits):
                    self._line(event)
            if "allowWatchBookmarks" in options and time.monotonic() - told_at > 1.0:
                told_at = time.monotonic()
                kind = KINDS[plural]
                mark = {"kind": kind.name, "apiVersion": kind.api_version}
                mark["metadata"] = {"resourceVersion": str(since)}
                self._line({"type": "BOOKMARK", "object": mark})
        if generation != faults.watch_generation:
            self.close_connection = True
            return
        self._chunk(b"")

    def _log(self, namespace: str, name: str, options: dict[str, str]) -> None:
        """Pass a log on from the node that has it."""
        objects = self.server_of.objects
        with objects.lock:
            pod = objects.get("pods", namespace, name)
            node_name = pod["spec"].get("nodeName", "")
            if not node_name:
                self._send_bytes(200, b"")
                return
            node = objects.get("nodes", "", node_name)
        port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
        container = options.get("container") or pod["spec"]["containers"][0]["name"]
        query = "&".join(f"{k}={v}" for k, v in options.items() if k in {"follow", "tailLines"})
        url = f"https://127.0.0.1:{port}/containerLogs/{namespace}/{name}/{container}?{query}"
        anyone = ssl.create_default_context()
        anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
        try:
            answer = urllib.request.urlopen(url.replace("True", "true"), context=anyone)
        except OSError as error:
            raise Refused(500, "InternalError", f"the node does not answer: {error}") from None
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with answer:
            while data := answer.read1(65536):
                self._chunk(data)
        self._chunk(b"")

    def _review(self, body: Object) -> None:
        asked = body["spec"].get("resourceAttributes") or {}
        resource = asked.get("resource", "")
        if asked.get("subresource"):
            resource += f"/{asked['subresource']}"
        allowed = (asked.get("verb", ""), resource) not in self.server_of.faults.denied
        self._send(201, {**body, "status": {"allowed": allowed}})

    def _send(self, code: int, answer: Object) -> None:
        self._send_bytes(code, json.dumps(answer, default=str).encode())

    def _send_bytes(self, code: int, data: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _line(self, event: Object) -> None:
        self._chunk(json.dumps(event, default=str).encode() + b"\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


def status_of(error: Refused) -> Object:
    """Say no as the API does."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": str(error),
        "reason": error.reason,
        "code": error.code,
    }


def _event(
    change: Change, plural: str, namespace: str, fits: Callable[[Object], bool]
) -> Object | None:
    """Return what a watch of a selection tells of a change."""
    before, after = change.before, change.after
    thing = after or before
    assert thing is not None
    if change.plural != plural or namespace not in {"", thing["metadata"].get("namespace")}:
        return None
    was, now = before is not None and fits(before), after is not None and fits(after)
    if now:
        return {"type": "MODIFIED" if was else "ADDED", "object": after}
    if was and before is not None:
        metadata = {**before["metadata"], "resourceVersion": str(change.version)}
        return {"type": "DELETED", "object": {**before, "metadata": metadata}}
    return None


def refuse_invalid(plural: str, body: Object) -> None:
    """Raise Refused 422 for what no controller could carry out."""
    name = body.get("metadata", {}).get("name", "")
    problem = _problem(plural, name, body)
    if problem:
        title = KINDS[plural].title
        raise Refused(422, "Invalid", f'{title} "{name}" is invalid: {problem}')


def _problem(plural: str, name: str, body: Object) -> str:
    if name and not NAME.match(name):
        return f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain'
    for value in (body.get("metadata", {}).get("labels") or {}).values():
        if len(value) > 63 or not LABEL.match(value):
            return f'metadata.labels: Invalid value: "{value}": a valid label'
    if plural not in {"jobs", "pods"}:
        return ""
    place, spec = "spec", body.get("spec") or {}
    if plural == "jobs":
        place, spec = "spec.template.spec", (spec.get("template") or {}).get("spec") or {}
        if spec.get("restartPolicy") not in {"Never", "OnFailure"}:
            return f"{place}.restartPolicy: Required value"
        if len(name) > 63:
            return "metadata.name: must be no more than 63 characters"
    return "" if spec.get("containers") else f"{place}.containers: Required value"


def _encoded(body: Object) -> Object:
    data = {k: base64.b64encode(v.encode()).decode() for k, v in body["stringData"].items()}
    rest = {k: v for k, v in body.items() if k != "stringData"}
    return {**rest, "data": {**(body.get("data") or {}), **data}}
