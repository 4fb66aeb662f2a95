"""A fake node: it takes the pods that are bound to it and runs them as plain processes.

It speaks the Kubernetes API only, so it serves a fake API server and a real control plane alike. It
registers a Node with its capacity, renews its Lease, runs each container's command as a subprocess,
patches pod status as a kubelet does, and serves logs over TLS. It has no containers, so

- volumes are directories, and a mount path at the start of a variable or argument is replaced by
  the directory;
- every pod has the address 127.0.0.1, and a MASTER_ADDR behind a headless Service becomes that;
- an image is a name: `images` says which ones can be pulled (None: all);
- `python` is the interpreter of the tests, and PYTHONPATH is theirs too;
- limits of memory and processor are not enforced: `oom` plays what would happen.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

LEASE_SECONDS = 2.0
PASSED_ON = ("PATH", "LANG", "PYTHONPATH", "LD_LIBRARY_PATH")
ROOT = Path(__file__).parents[2]


def now() -> str:
    """Return the time as the API writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class NodeAgent:
    """Play one node; start it by entering it."""

    def __init__(
        self,
        kubeconfig: Path | str,
        name: str,
        directory: Path,
        *,
        capacity: dict[str, str] | None = None,
        images: set[str] | None = None,
    ) -> None:
        self.name = name
        self.images = images
        self.start_seconds = 0.0
        """Time a container takes to start."""
        self._directory = directory
        self._capacity = {"cpu": "8", "memory": "64Gi", "ephemeral-storage": "500Gi", "pods": "50"}
        self._capacity |= capacity or {}
        connection = config.new_client_from_config(config_file=str(kubeconfig))
        connection.configuration.retries = False
        self._core = client.CoreV1Api(connection)
        self._leases = client.CoordinationV1Api(connection)
        self._running: dict[str, _Pod] = {}
        self._closed = threading.Event()
        self._silent = threading.Event()
        self._threads: list[threading.Thread] = []
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> NodeAgent:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._serve_logs()
        self._register()
        for work in (self._beat, self._take_pods):
            thread = threading.Thread(target=work, name=f"{self.name}-{work.__name__}", daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        for pod in list(self._running.values()):
            pod.kill()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        with contextlib.suppress(Exception):
            self._core.delete_node(self.name)

    def evict(self, pod: str) -> None:
        """End a pod as a kubelet does that runs out of memory or disk: at once."""
        running = self._named(pod)
        running.verdict = {
            "reason": "Evicted",
            "message": "The node was low on resource: memory.",
            "condition": "TerminationByKubelet",
        }
        running.kill()

    def oom(self, pod: str) -> None:
        """End a pod's process as the kernel does when it is over its limit."""
        running = self._named(pod)
        running.verdict = {"terminated": "OOMKilled"}
        running.kill()

    def vanish(self, *, kill: bool = True) -> None:
        """Go away without a word: no lease, no status; with `kill` the processes end too."""
        self._silent.set()
        for pod in list(self._running.values()) if kill else ():
            pod.kill()

    def come_back(self) -> None:
        """Beat and report again."""
        self._silent.clear()

    def pods(self) -> list[str]:
        """Return the names of the pods whose process runs."""
        return [pod.name for pod in self._running.values() if pod.alive]

    def _named(self, name: str) -> _Pod:
        """Return the newest pod of a name."""
        return [pod for pod in self._running.values() if pod.name == name][-1]

    def _register(self) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": {"kubernetes.io/hostname": self.name}},
        }
        with contextlib.suppress(ApiException):
            self._core.create_node(body, _preload_content=False)
        self._report_ready()
        # A new node is tainted until its controller has seen it ready; a fake one needs no wait.
        with contextlib.suppress(ApiException):
            self._core.patch_node(self.name, {"spec": {"taints": None}}, _preload_content=False)

    def _report_ready(self) -> None:
        assert self._server is not None
        conditions = [
            {
                "type": kind,
                "status": status,
                "reason": "FakeNode",
                "message": "",
                "lastHeartbeatTime": now(),
                "lastTransitionTime": now(),
            }
            for kind, status in (
                ("Ready", "True"),
                ("MemoryPressure", "False"),
                ("DiskPressure", "False"),
                ("PIDPressure", "False"),
            )
        ]
        status = {
            "capacity": self._capacity,
            "allocatable": self._capacity,
            "conditions": conditions,
            "addresses": [
                {"type": "InternalIP", "address": "127.0.0.1"},
                {"type": "Hostname", "address": "127.0.0.1"},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._server.server_port}},
            "nodeInfo": {
                "kubeletVersion": "v0.0.0-fake",
                **dict.fromkeys(
                    (
                        "architecture",
                        "bootID",
                        "containerRuntimeVersion",
                        "kernelVersion",
                        "kubeProxyVersion",
                        "machineID",
                        "operatingSystem",
                        "osImage",
                        "systemUUID",
                    ),
                    "fake",
                ),
            },
        }
        self._core.patch_node_status(self.name, {"status": status}, _preload_content=False)

    def _beat(self) -> None:
        while not self._closed.is_set():
            if not self._silent.is_set():
                with contextlib.suppress(Exception):
                    self._renew()
                    self._report_ready()
            self._closed.wait(LEASE_SECONDS)

    def _renew(self) -> None:
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": stamp}
        try:
            self._leases.patch_namespaced_lease(
                self.name, "kube-node-lease", {"spec": spec}, _preload_content=False
            )
        except ApiException as error:
            if error.status != 404:
                raise
            body = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self.name},
                "spec": spec,
            }
            self._leases.create_namespaced_lease("kube-node-lease", body, _preload_content=False)

    def _take_pods(self) -> None:
        """Look at the pods of this node, over and over; a watch would save nothing here."""
        while not self._closed.is_set():
            if not self._silent.is_set():
                with contextlib.suppress(Exception):
                    self._look()
            self._closed.wait(0.2)

    def _look(self) -> None:
        answer = self._core.list_pod_for_all_namespaces(
            field_selector=f"spec.nodeName={self.name}", _preload_content=False
        )
        listed = json.loads(answer.data)["items"]
        for item in listed:
            uid = item["metadata"]["uid"]
            pod = self._running.get(uid)
            ended = item.get("status", {}).get("phase") in {"Succeeded", "Failed"}
            if pod is None and not ended and not item["metadata"].get("deletionTimestamp"):
                pod = self._running[uid] = _Pod(self, item)
                threading.Thread(target=pod.run, name=pod.name, daemon=True).start()
            elif item["metadata"].get("deletionTimestamp"):
                grace = float(item["metadata"].get("deletionGracePeriodSeconds") or 0)
                if pod is None or pod.over:
                    self.delete(item)
                else:
                    pod.terminate(grace)
        there = {item["metadata"]["uid"] for item in listed}
        for uid, pod in list(self._running.items()):
            if uid not in there:  # deleted by force
                pod.kill()
                if pod.over:
                    del self._running[uid]

    def delete(self, item: dict[str, Any]) -> None:
        """Say that a pod that was to go has gone."""
        with contextlib.suppress(ApiException):
            self._core.delete_namespaced_pod(
                item["metadata"]["name"],
                item["metadata"]["namespace"],
                body={
                    "gracePeriodSeconds": 0,
                    "preconditions": {"uid": item["metadata"]["uid"]},
                },
                _preload_content=False,
            )

    def patch(self, item: dict[str, Any], status: dict[str, Any]) -> None:
        """Write a pod's status; a node that has vanished writes nothing."""
        while self._silent.is_set() and not self._closed.is_set():
            time.sleep(0.1)
        for _ in range(50):
            try:
                self._core.patch_namespaced_pod_status(
                    item["metadata"]["name"],
                    item["metadata"]["namespace"],
                    {"metadata": {"uid": item["metadata"]["uid"]}, "status": status},
                    _preload_content=False,
                )
                return
            except ApiException as error:
                if error.status in {404, 409}:
                    return
            except Exception:  # the API is away for a while
                pass
            time.sleep(0.2)

    def value_of(self, namespace: str, kind: str, name: str) -> dict[str, str]:
        """Read a Secret or a ConfigMap; raises LookupError where it is not there."""
        read = {
            "secret": self._core.read_namespaced_secret,
            "configmap": self._core.read_namespaced_config_map,
        }[kind]
        try:
            data = json.loads(read(name, namespace, _preload_content=False).data).get("data") or {}
        except ApiException as error:
            raise LookupError(f'{kind} "{name}" not found') from error
        if kind == "secret":
            return {key: base64.b64decode(value).decode() for key, value in data.items()}
        return data

    def place(self, uid: str) -> Path:
        """Return the directory of a pod."""
        return self._directory / uid

    def _serve_logs(self) -> None:
        agent = self

        class Logs(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                _answer_log(self, agent)

            def log_message(self, format: str, *args: object) -> None:
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Logs)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*_certificate(self._directory))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def find(self, namespace: str, name: str) -> _Pod | None:
        """Return the newest pod of a name."""
        asked = (namespace, name)
        found = [pod for pod in self._running.values() if (pod.namespace, pod.name) == asked]
        return found[-1] if found else None


class _Pod:
    """Run one pod's only container."""

    def __init__(self, agent: NodeAgent, item: dict[str, Any]) -> None:
        self._agent = agent
        self._item = item
        self.name = item["metadata"]["name"]
        self.namespace = item["metadata"]["namespace"]
        self.over = False
        self.verdict: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._stop_by: float | None = None
        self._started = now()
        self._deadline = float("inf")

    @property
    def log(self) -> Path:
        return self._agent.place(self._item["metadata"]["uid"]) / "log"

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def run(self) -> None:
        """Carry the pod from Pending to its end."""
        spec = self._item["spec"]
        container = spec["containers"][0]
        place = self._agent.place(self._item["metadata"]["uid"])
        place.mkdir(parents=True, exist_ok=True)
        if not self._may_start(container):
            self.over = True
            return
        if spec.get("activeDeadlineSeconds"):
            self._deadline = time.monotonic() + spec["activeDeadlineSeconds"]
        mounts = self._volumes(spec, container, place)
        argv = [_placed(part, mounts) for part in (container.get("command") or [])]
        argv += [_placed(part, mounts) for part in (container.get("args") or [])]
        if argv[0] == "python":
            argv[0] = sys.executable
        environment = self._environment(container, mounts)
        with self.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    argv,
                    env=environment,
                    cwd=place,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                self._end(container, 128, {"terminated": "StartError", "message": str(error)})
                return
        self._say("Running", container, {"running": {"startedAt": self._started}}, ready=True)
        code = self._wait()
        self._end(container, code, self.verdict)

    def terminate(self, grace: float) -> None:
        """Ask the process to end, and end it after the grace period."""
        if self._stop_by is None:
            self._stop_by = time.monotonic() + grace
            if self.alive:
                assert self._process is not None
                self._process.send_signal(signal.SIGTERM)
        else:
            self._stop_by = min(self._stop_by, time.monotonic() + grace)

    def kill(self) -> None:
        """End the process and what it started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _wait(self) -> int:
        assert self._process is not None
        while self._process.poll() is None:
            late = self._stop_by is not None and time.monotonic() > self._stop_by
            if time.monotonic() > self._deadline:
                self.verdict = {"reason": "DeadlineExceeded"}
            if late or time.monotonic() > self._deadline:
                self.kill()
            time.sleep(0.05)
        self.kill()  # what it left behind goes with its container
        code = self._process.returncode
        return 128 - code if code < 0 else code

    def _may_start(self, container: dict[str, Any]) -> bool:
        """Wait for image and configuration as a kubelet does; False where the pod goes first."""
        told = ""
        while True:
            reason, message = self._obstacle(container)
            if not reason:
                time.sleep(self._agent.start_seconds)
                return self._stop_by is None
            if reason != told:
                self._say("Pending", container, {"waiting": {"reason": reason, "message": message}})
                told = reason
            if self._stop_by is not None:
                return False
            time.sleep(0.2)

    def _obstacle(self, container: dict[str, Any]) -> tuple[str, str]:
        image = container["image"]
        if self._agent.images is not None and image not in self._agent.images:
            return "ErrImagePull", f'failed to pull image "{image}": not found'
        try:
            self._environment(container, {})
        except LookupError as error:
            return "CreateContainerConfigError", str(error.args[0])
        return "", ""

    def _volumes(
        self, spec: dict[str, Any], container: dict[str, Any], place: Path
    ) -> dict[str, str]:
        mounts: dict[str, str] = {}
        by_name = {volume["name"]: volume for volume in spec.get("volumes") or []}
        for mount in container.get("volumeMounts") or []:
            if mount["mountPath"] == "/dev/shm":  # the host's serves as well
                continue
            target = place / "volumes" / mount["name"]
            target.mkdir(parents=True, exist_ok=True)
            volume = by_name[mount["name"]]
            namespace = self._item["metadata"]["namespace"]
            if "configMap" in volume:
                found = self._agent.value_of(namespace, "configmap", volume["configMap"]["name"])
                for key, value in found.items():
                    (target / key).write_text(value)
            mounts[mount["mountPath"]] = str(target)
        return mounts

    def _environment(self, container: dict[str, Any], mounts: dict[str, str]) -> dict[str, str]:
        namespace = self._item["metadata"]["namespace"]
        values = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        values["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(ROOT), values.get("PYTHONPATH", "")])
        )
        for source in container.get("envFrom") or []:
            if "configMapRef" in source:
                values |= self._agent.value_of(
                    namespace, "configmap", source["configMapRef"]["name"]
                )
            if "secretRef" in source:
                values |= self._agent.value_of(namespace, "secret", source["secretRef"]["name"])
        for entry in container.get("env") or []:
            values[entry["name"]] = self._value(entry)
        values = {name: _placed(value, mounts) for name, value in values.items()}
        if "." in values.get("MASTER_ADDR", ""):
            values["MASTER_ADDR"] = "127.0.0.1"
        return values

    def _value(self, entry: dict[str, Any]) -> str:
        if "value" in entry or "valueFrom" not in entry:
            return entry.get("value", "")
        namespace, source = self._item["metadata"]["namespace"], entry["valueFrom"]
        if "fieldRef" in source:
            return _field(self._item, source["fieldRef"]["fieldPath"])
        kind = "secret" if "secretKeyRef" in source else "configmap"
        reference = source.get("secretKeyRef") or source["configMapKeyRef"]
        return self._agent.value_of(namespace, kind, reference["name"])[reference["key"]]

    def _end(self, container: dict[str, Any], code: int, verdict: dict[str, str]) -> None:
        reason = verdict.get("terminated") or ("Completed" if code == 0 else "Error")
        state = {
            "terminated": {
                "exitCode": code,
                "reason": reason,
                "startedAt": self._started,
                "finishedAt": now(),
                **({"message": verdict["message"]} if "message" in verdict else {}),
            }
        }
        self._say("Succeeded" if code == 0 and not verdict else "Failed", container, state, verdict)
        self.over = True

    def _say(
        self,
        phase: str,
        container: dict[str, Any],
        state: dict[str, Any],
        verdict: dict[str, str] | None = None,
        *,
        ready: bool = False,
    ) -> None:
        conditions = [
            {
                "type": kind,
                "status": "True" if ready or kind == "Initialized" else "False",
                "lastTransitionTime": now(),
            }
            for kind in ("Initialized", "ContainersReady", "Ready")
        ]
        status: dict[str, Any] = {
            "phase": phase,
            "startTime": self._started,
            "hostIP": "127.0.0.1",
            "podIP": "127.0.0.1",
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": ready,
                    "started": ready,
                    "restartCount": 0,
                    "state": state,
                }
            ],
        }
        verdict = verdict or {}
        if "reason" in verdict:
            status["reason"] = verdict["reason"]
            status["message"] = verdict.get("message", "")
        if "condition" in verdict:
            conditions.append(
                {
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": verdict["condition"],
                    "message": verdict.get("message", ""),
                    "lastTransitionTime": now(),
                }
            )
        status["conditions"] = conditions
        self._agent.patch(self._item, status)


def _placed(text: str, mounts: dict[str, str]) -> str:
    for path, directory in mounts.items():
        if text == path or text.startswith(path + "/"):
            return directory + text.removeprefix(path)
    return text


def _field(item: dict[str, Any], path: str) -> str:
    if path.startswith("metadata."):
        found: Any = item["metadata"]
        kind, bracket, key = path.removeprefix("metadata.").partition("['")
        found = found.get(kind) or {}
        return str(found.get(key.removesuffix("']"), "")) if bracket else str(found)
    return {"status.podIP": "127.0.0.1", "status.hostIP": "127.0.0.1"}.get(path, "")


def _answer_log(handler: BaseHTTPRequestHandler, agent: NodeAgent) -> None:
    """Answer `/containerLogs/NAMESPACE/POD/CONTAINER?follow=&tailLines=`."""
    asked = urlparse(handler.path)
    parts = asked.path.strip("/").split("/")
    options = parse_qs(asked.query)
    pod = (
        agent.find(parts[1], parts[2]) if len(parts) == 4 and parts[0] == "containerLogs" else None
    )
    if pod is None or not pod.log.exists():
        handler.send_error(404)
        return
    handler.send_response(200)
    handler.send_header("Content-Type", "text/plain")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    follow = options.get("follow", ["false"])[0] == "true"
    with pod.log.open("rb") as file, contextlib.suppress(OSError):
        tail = options.get("tailLines")
        if tail:
            data = b"".join(file.readlines()[-int(tail[0]) :])
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if data else b"")
        while True:
            over = pod.over
            data = file.read(65536)
            if data:
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                handler.wfile.flush()
            elif not follow or over:
                break
            else:
                time.sleep(0.01)
        handler.wfile.write(b"0\r\n\r\n")


def _certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate that nobody vouches for, as a kubelet does at its first start."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake-node")])
    today = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    certificate, private = directory / "node.crt", directory / "node.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private
