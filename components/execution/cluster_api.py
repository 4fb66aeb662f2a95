"""The few calls to a cluster that the launcher makes, with errors in our words and objects as plain
dictionaries.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from components.contract import BadInput, EnvironmentMissing, StageFailure, TryAgain
from components.execution.cluster_settings import ClusterSettings
from components.execution.job_manifest import MANAGER

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
WATCH_SECONDS = 300
SILENCE_SECONDS = 3600.0
"""Time for which a followed log may say nothing before it is asked for anew."""
OURS = f"app.kubernetes.io/managed-by={MANAGER}"
AWAY = {408, 429, 500, 502, 503, 504}
Object = dict[str, Any]


class AlreadyThere(StageFailure):
    """Report that something of this name exists."""


class Gone(Exception):
    """Report that the API no longer knows what happened since a version: list again (410)."""


class ClusterApi:
    """Talk to one namespace of a cluster; safe to use from several threads."""

    def __init__(self, cluster: ClusterSettings) -> None:
        self._cluster = cluster
        self._namespace = cluster.namespace
        connection = _connect(cluster)
        self._core = client.CoreV1Api(connection)
        self._batch = client.BatchV1Api(connection)
        self._lists: dict[str, Callable[..., Any]] = {
            "jobs": self._batch.list_namespaced_job,
            "pods": self._core.list_namespaced_pod,
        }

    def create(self, manifest: Object) -> Object:
        """Make a Job or a Service; raises AlreadyThere, and BadInput where the API refuses it."""
        make = {
            "Job": self._batch.create_namespaced_job,
            "Service": self._core.create_namespaced_service,
        }[manifest["kind"]]
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        return self._ask(name, make, self._namespace, manifest)

    def job(self, name: str) -> Object | None:
        """Return a Job; None where there is none."""
        return self._ask(
            f"Job {name}", self._batch.read_namespaced_job, name, self._namespace, missing=True
        )

    def own_service(self, name: str, job: Object) -> None:
        """Let a Service go with its Job."""
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": job["metadata"]["name"],
            "uid": job["metadata"]["uid"],
        }
        patch = {"metadata": {"ownerReferences": [owner]}}
        service = f"Service {name}"
        self._ask(service, self._core.patch_namespaced_service, name, self._namespace, patch)

    def delete_job(self, name: str, *, grace_seconds: int | None = None) -> None:
        """Delete a Job and its pods; with `grace_seconds` the pods too are told to hurry."""
        if grace_seconds is not None:
            for pod in self.pods_of(name):
                self._ask(
                    f"Pod {pod['metadata']['name']}",
                    self._core.delete_namespaced_pod,
                    pod["metadata"]["name"],
                    self._namespace,
                    grace_period_seconds=grace_seconds,
                    missing=True,
                )
        self._ask(
            f"Job {name}",
            self._batch.delete_namespaced_job,
            name,
            self._namespace,
            propagation_policy="Foreground",
            missing=True,
        )

    def delete_service(self, name: str) -> None:
        """Delete a Service."""
        self._ask(
            f"Service {name}",
            self._core.delete_namespaced_service,
            name,
            self._namespace,
            missing=True,
        )

    def pods_of(self, job: str) -> list[Object]:
        """Return the pods of a Job."""
        selector = f"batch.kubernetes.io/job-name={job}"
        found = self._ask(
            "pods", self._core.list_namespaced_pod, self._namespace, label_selector=selector
        )
        return (found or {}).get("items") or []

    def version(self) -> str:
        """Return the cluster's version."""
        answer = self._ask("the cluster", client.VersionApi(self._core.api_client).get_code)
        return answer["gitVersion"]

    def may(self, verb: str, group: str, resource: str, subresource: str) -> bool:
        """Return whether these credentials may do something in the namespace."""
        asked = {
            "namespace": self._namespace,
            "verb": verb,
            "group": group,
            "resource": resource,
            "subresource": subresource,
        }
        review: Any = {"spec": {"resourceAttributes": asked}}
        rights = client.AuthorizationV1Api(self._core.api_client)
        answer = self._ask("the rights", rights.create_self_subject_access_review, review)
        return bool(answer["status"]["allowed"])

    def missing_for_stages(self) -> list[str]:
        """Return which of ConfigMap and Secret is not there, as far as it may be looked at."""
        wanted = [
            ("configmaps", self._core.read_namespaced_config_map, self._cluster.env_config_map),
            ("secrets", self._core.read_namespaced_secret, self._cluster.env_secret),
        ]
        missing: list[str] = []
        for resource, read, name in wanted:
            may = self.may("get", "", resource, "")
            if may and self._ask(name, read, name, self._namespace, missing=True) is None:
                missing.append(f"{resource.removesuffix('s')} {name}")
        return missing

    def refusals(self, job: str) -> list[str]:
        """Return why the Job's pods could not be made, as the events say."""
        found = self._ask(
            "events",
            self._core.list_namespaced_event,
            self._namespace,
            field_selector=f"involvedObject.name={job}",
        )
        events = (found or {}).get("items") or []
        return [e.get("message", "") for e in events if e.get("reason") == "FailedCreate"]

    def list(self, kind: str) -> tuple[list[Object], str]:
        """Return our objects of a kind (`jobs`, `pods`), and the version of the list."""
        items: list[Object] = []
        more = ""
        while True:
            page = self._ask(
                kind,
                self._lists[kind],
                self._namespace,
                label_selector=OURS,
                limit=200,
                **({"_continue": more} if more else {}),
            )
            items += page.get("items") or []
            more = page["metadata"].get("continue") or ""
            if not more:
                return items, page["metadata"]["resourceVersion"]

    def watch(self, kind: str, version: str) -> Iterator[tuple[str, Object]]:
        """Yield what happens to our objects of a kind since a version, until the API ends it.

        Raises Gone where the version is too old.
        """
        with _in_our_words(f"the watch of {kind}"):
            answer = self._lists[kind](
                self._namespace,
                label_selector=OURS,
                watch=True,
                resource_version=version,
                allow_watch_bookmarks=True,
                timeout_seconds=WATCH_SECONDS,
                _preload_content=False,
                _request_timeout=(CONNECT_SECONDS, WATCH_SECONDS + ANSWER_SECONDS),
            )
            with closing(answer):
                yield from _events(answer)

    def log(self, pod: str, *, follow: bool) -> Iterator[bytes]:
        """Yield what a pod's container has printed, from the start; with `follow` until it ends."""
        with _in_our_words(f"the log of {pod}"):
            answer: Any = self._core.read_namespaced_pod_log(
                pod,
                self._namespace,
                container="stage",
                follow=follow,
                _preload_content=False,
                _request_timeout=(CONNECT_SECONDS, SILENCE_SECONDS if follow else ANSWER_SECONDS),
            )
            with closing(answer):
                yield from answer.stream(8192)

    def _ask(self, what: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Return the answer as a dictionary; with `missing`, None for what is not there."""
        missing = options.pop("missing", False)
        timeout = (CONNECT_SECONDS, ANSWER_SECONDS)
        with _in_our_words(what, self._namespace):
            try:
                answer = call(
                    *arguments, _preload_content=False, _request_timeout=timeout, **options
                )
            except ApiException as error:
                if missing and error.status == 404:
                    return None
                raise
            return json.loads(answer.data)


class _in_our_words:
    """Turn the client's errors into ours."""

    def __init__(self, what: str, namespace: str = "") -> None:
        self._what, self._namespace = what, namespace

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ApiException):
            raise _in_words(error, self._what, self._namespace) from None
        if isinstance(error, urllib3.exceptions.HTTPError | OSError):
            raise TryAgain(f"the cluster does not answer ({self._what}): {error}") from None


def _in_words(error: ApiException, what: str, namespace: str) -> Exception:
    said = _message(error)
    if error.status == 401:
        return EnvironmentMissing(
            "the cluster refuses the credentials: the token has expired or is wrong.\n"
            "Log in to the cluster again, then run the same command."
        )
    if error.status == 403 and "exceeded quota" in said:
        return EnvironmentMissing(
            f"the quota of namespace {namespace} is too small for {what}: {said}\n"
            "Ask for less (resources.STEP.memory_gb, .threads), or raise the quota."
        )
    if error.status == 403:
        return EnvironmentMissing(
            f"you may not do this in namespace {namespace}: {said}\n"
            "`strata doctor` lists the rights that are missing."
        )
    if error.status == 404:
        return EnvironmentMissing(f"{what}: {said}\nIs `namespace` right in STRATA_CLUSTER?")
    if error.status == 409:
        return AlreadyThere(f"{what} exists")
    if error.status == 410:
        return Gone()
    if error.status in AWAY:
        return TryAgain(f"the cluster is away ({what}): {error.status} {said}")
    return BadInput(f"the cluster refuses {what}: {said}")


def _message(error: ApiException) -> str:
    try:
        return json.loads(error.body or "")["message"]
    except (ValueError, TypeError, KeyError):
        return str(error.reason)


def _events(answer: Any) -> Iterator[tuple[str, Object]]:
    for line in _lines(answer):
        event = json.loads(line)
        if event["type"] == "ERROR":
            _refuse_event(event["object"])
        yield event["type"], event["object"]


def _refuse_event(status: Object) -> None:
    if status.get("code") == 410:
        raise Gone
    raise TryAgain(f"the watch ended: {status.get('message')}")


def _lines(answer: Any) -> Iterator[bytes]:
    rest = b""
    for chunk in answer.stream(amt=None, decode_content=False):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line for line in whole if line.strip())


def _connect(cluster: ClusterSettings) -> client.ApiClient:
    """Open the connection that the settings name."""
    try:
        try:
            connection = config.new_client_from_config(
                config_file=cluster.kubeconfig or None, context=cluster.context or None
            )
        except config.ConfigException:
            if cluster.kubeconfig or cluster.context:
                raise
            inside = client.Configuration()
            config.load_incluster_config(client_configuration=inside)
            connection = client.ApiClient(inside)
    except (config.ConfigException, OSError) as error:
        where = f"context {cluster.context!r}" if cluster.context else "a cluster"
        raise EnvironmentMissing(
            f"there is no way to {where}: {error}\n"
            "Set KUBECONFIG, or `kubeconfig` and `context` in the file of STRATA_CLUSTER."
        ) from None
    connection.configuration.retries = False  # what is away is told, and asked again by the caller
    return connection
