"""What our code takes for granted of a Kubernetes API, one behaviour a function.

The same functions run against the fake API server in the normal suite and against the cluster that
KUBECONFIG names. Nothing here knows which one it is: where the two differ, the fake is wrong.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException, NotFoundException

from tests.cluster.scenarios import IMAGE
from tests.fakes.node_agent import NodeAgent
from tests.processes import wait_until

Object = dict[str, Any]
INDEX = "batch.kubernetes.io/job-completion-index"
UNREACHABLE = "node.kubernetes.io/unreachable"
HOLD = "strata.test/hold"


@dataclass
class Api:
    """Hold a namespace of its own for one test, and the clients to it."""

    kubeconfig: str
    namespace: str
    directory: Path
    core: client.CoreV1Api
    batch: client.BatchV1Api
    leases: client.CoordinationV1Api
    review: client.AuthorizationV1Api

    # Objects without a controller

    def note(self, name: str, **metadata: Any) -> Object:
        """Create a Lease: an object that nothing looks after, and of which no namespace has one."""
        body = {"metadata": {"name": name, **metadata}, "spec": {"holderIdentity": name}}
        return said(self.leases.create_namespaced_lease, self.namespace, body)

    def read_note(self, name: str) -> Object:
        return said(self.leases.read_namespaced_lease, name, self.namespace)

    def patch_note(self, name: str, text: str = "", **options: Any) -> Object:
        """Change the text of a Lease."""
        parts = {"spec": {"holderIdentity": text}}
        return said(self.leases.patch_namespaced_lease, name, self.namespace, parts, **options)

    def mark_note(self, name: str, **metadata: Any) -> Object:
        """Change the metadata of a Lease."""
        parts = {"metadata": metadata}
        return said(self.leases.patch_namespaced_lease, name, self.namespace, parts)

    def delete_note(self, name: str, **options: Any) -> Object:
        return said(self.leases.delete_namespaced_lease, name, self.namespace, **options)

    def notes(self, **options: Any) -> Object:
        return said(self.leases.list_namespaced_lease, self.namespace, **options)

    def watch_notes(self, seconds: int, **options: Any) -> Iterator[Object]:
        """Yield the events of a watch until the API ends it."""
        answer = self.leases.list_namespaced_lease(
            self.namespace, watch=True, timeout_seconds=seconds, _preload_content=False, **options
        )
        return (json.loads(line) for line in _lines(answer))

    # Jobs and pods

    def create_job(self, name: str, script: str = "true", **fields: Any) -> Object:
        """Create a Job of a shell script."""
        body = job_body(name, script, **fields)
        return said(self.batch.create_namespaced_job, self.namespace, body)

    def job(self, name: str) -> Object:
        return said(self.batch.read_namespaced_job, name, self.namespace)

    def patch_job(self, name: str, **parts: Any) -> Object:
        return said(self.batch.patch_namespaced_job, name, self.namespace, parts)

    def delete_job(self, name: str, policy: str) -> Object:
        return said(
            self.batch.delete_namespaced_job, name, self.namespace, propagation_policy=policy
        )

    def pods(self, job: str = "") -> list[Object]:
        """List pods, those of a Job alone where one is named."""
        options = {"label_selector": f"job-name={job}"} if job else {}
        return said(self.core.list_namespaced_pod, self.namespace, **options)["items"]

    def pod(self, name: str) -> Object:
        return said(self.core.read_namespaced_pod, name, self.namespace)

    def create_pod(self, name: str, script: str = "true", **fields: Any) -> Object:
        body = {"metadata": {"name": name}, "spec": pod_spec(script, **fields)}
        return said(self.core.create_namespaced_pod, self.namespace, body)

    def wait_for_job(self, name: str, kind: str, seconds: float = 60) -> Object:
        """Return the Job once a condition holds."""
        wait_until(lambda: condition(self.job(name), kind) is not None, seconds, f"for {kind}")
        return self.job(name)

    def wait_for_pods(self, job: str, count: int, phase: str = "") -> list[Object]:
        """Return the pods of a Job once there are so many, in a phase where one is named."""

        def there() -> bool:
            found = self.pods(job)
            return len(found) == count and all(_phase(p) == phase for p in found if phase)

        wait_until(there, 60, f"for {count} pods {phase}")
        return self.pods(job)

    def wait_for_phase(self, pod: str, *phases: str) -> Object:
        wait_until(lambda: _phase(self.pod(pod)) in phases, 60, f"for {phases}")
        return self.pod(pod)

    def wait_until_gone(self, read: Callable[[str], Object], name: str) -> None:
        wait_until(lambda: _is_gone(read, name), 60, f"for {name} to go")

    def events(self, about: str, reason: str) -> list[str]:
        """Return the messages of the events of an object."""
        chosen = f"involvedObject.name={about},reason={reason}"
        listed = said(self.core.list_namespaced_event, self.namespace, field_selector=chosen)
        return [each["message"] for each in listed["items"]]

    def log(self, pod: str, **options: Any) -> str:
        answer = self.core.read_namespaced_pod_log(
            pod, self.namespace, _preload_content=False, **options
        )
        return answer.data.decode()


@contextmanager
def api(kubeconfig: str, directory: Path) -> Generator[Api]:
    """Make a namespace, and remove it with all it holds."""
    connection = config.new_client_from_config(config_file=kubeconfig)
    core, batch = client.CoreV1Api(connection), client.BatchV1Api(connection)
    namespace = f"strata-test-{time.time_ns() % 10**9}"
    said(core.create_namespace, {"metadata": {"name": namespace}})
    leases, review = client.CoordinationV1Api(connection), client.AuthorizationV1Api(connection)
    made = Api(kubeconfig, namespace, directory, core, batch, leases, review)
    try:
        yield made
    finally:
        for pod in made.pods():
            held = {"metadata": {"finalizers": None}}
            if HOLD in (pod["metadata"].get("finalizers") or []):
                said(core.patch_namespaced_pod, pod["metadata"]["name"], namespace, held)
        said(core.delete_namespace, namespace)


def said(call: Callable[..., Any], *values: Any, **options: Any) -> Object:
    """Return the answer of the API as it was sent."""
    return json.loads(call(*values, **options, _preload_content=False).data)


def refused(call: Callable[..., Any], *values: Any, **options: Any) -> tuple[int, str, str]:
    """Return code, reason and message with which the API says no."""
    with pytest.raises(ApiException) as caught:
        call(*values, **options)
    status = json.loads(caught.value.body)
    assert (status["kind"], status["status"]) == ("Status", "Failure")
    assert status["code"] == caught.value.status
    return status["code"], status["reason"], status["message"]


def pod_spec(script: str, **fields: Any) -> Object:
    container = {"name": "main", "image": IMAGE, "command": ["sh", "-c", script]}
    container |= fields.pop("container", {})
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 10,
        "containers": [container],
        **fields,
    }


def job_body(
    name: str, script: str = "true", *, pod: Object | None = None, **fields: Any
) -> Object:
    template = {"spec": pod_spec(script, **(pod or {}))}
    return {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": template, **fields}}


def condition(thing: Object, kind: str) -> Object | None:
    """Return a condition that holds."""
    for each in thing.get("status", {}).get("conditions") or []:
        if each["type"] == kind and each["status"] == "True":
            return each
    return None


def names(listed: Object) -> list[str]:
    return [each["metadata"]["name"] for each in listed["items"]]


# Objects


def a_new_object_has_identity_version_and_time(api: Api) -> None:
    made = api.note("one")["metadata"]
    assert made["namespace"] == api.namespace
    assert len(made["uid"]) == 36
    assert "generation" not in made
    assert made["resourceVersion"].isdigit()
    assert made["creationTimestamp"].endswith("Z")
    api.delete_note("one")
    assert api.note("one")["metadata"]["uid"] != made["uid"]


def a_change_raises_the_version_and_keeps_the_identity(api: Api) -> None:
    made = api.note("one")["metadata"]
    changed = api.patch_note("one", "changed")["metadata"]
    assert int(changed["resourceVersion"]) > int(made["resourceVersion"])
    for fixed in ("uid", "creationTimestamp"):
        assert changed[fixed] == made[fixed]
    again = api.patch_note("one", "changed")["metadata"]
    assert again["resourceVersion"] == changed["resourceVersion"]


def generation_counts_changes_of_the_spec(api: Api) -> None:
    assert api.create_job("one", suspend=True)["metadata"]["generation"] == 1
    labelled = api.patch_job("one", metadata={"labels": {"a": "b"}})
    assert labelled["metadata"]["generation"] == 1
    changed = api.patch_job("one", spec={"activeDeadlineSeconds": 60})
    assert changed["metadata"]["generation"] == 2


def a_name_is_made_from_its_beginning(api: Api) -> None:
    body = {"metadata": {"generateName": "one-"}}
    made = [said(api.leases.create_namespaced_lease, api.namespace, body) for _ in range(2)]
    first, second = (each["metadata"]["name"] for each in made)
    assert first != second
    assert {first[:4], second[:4]} == {"one-"}


def what_is_not_there_is_404(api: Api) -> None:
    code, reason, message = refused(api.core.read_namespaced_pod, "none", api.namespace)
    assert (code, reason, message) == (404, "NotFound", 'pods "none" not found')
    code, reason, message = refused(api.batch.read_namespaced_job, "none", api.namespace)
    assert (code, reason, message) == (404, "NotFound", 'jobs.batch "none" not found')
    body = {"metadata": {"name": "one"}}
    code, reason, message = refused(api.core.create_namespaced_config_map, "no-such-place", body)
    assert (code, reason) == (404, "NotFound")
    assert message == 'namespaces "no-such-place" not found'


def a_name_is_taken_once(api: Api) -> None:
    api.create_job("one", suspend=True)
    code, reason, message = refused(api.batch.create_namespaced_job, api.namespace, job_body("one"))
    assert (code, reason, message) == (409, "AlreadyExists", 'jobs.batch "one" already exists')


def a_stale_write_is_refused(api: Api) -> None:
    old = api.note("one")
    api.patch_note("one", "newer")
    call = api.leases.replace_namespaced_lease
    old["spec"]["holderIdentity"] = "stale"
    code, reason, message = refused(call, "one", api.namespace, old)
    assert (code, reason) == (409, "Conflict")
    assert "the object has been modified" in message
    assert api.read_note("one")["spec"]["holderIdentity"] == "newer"
    fresh = api.read_note("one")
    fresh["spec"]["holderIdentity"] = "newest"
    assert said(call, "one", api.namespace, fresh)["spec"]["holderIdentity"] == "newest"


def a_delete_meant_for_another_object_is_refused(api: Api) -> None:
    uid = api.note("one")["metadata"]["uid"]
    call = api.leases.delete_namespaced_lease
    other = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
    code, reason, _ = refused(call, "one", api.namespace, body=other)
    assert (code, reason) == (409, "Conflict")
    said(call, "one", api.namespace, body={"preconditions": {"uid": uid}})
    assert _is_gone(api.read_note, "one")


def bad_objects_are_422(api: Api) -> None:
    call = api.batch.create_namespaced_job
    bad = {
        "restartPolicy": job_body("one", pod={"restartPolicy": "Always"}),
        "containers": job_body("one", pod={"containers": []}),
        "metadata.name": job_body("Not_A_Name"),
        "metadata.labels": {**job_body("one"), "metadata": {"name": "one", "labels": {"a": "b c"}}},
    }
    for place, body in bad.items():
        code, reason, message = refused(call, api.namespace, body)
        assert (code, reason) == (422, "Invalid"), place
        assert message.startswith('Job.batch "')
        assert place in message
    assert said(api.batch.list_namespaced_job, api.namespace)["items"] == []


def the_pod_of_a_job_cannot_be_changed(api: Api) -> None:
    api.create_job("one", suspend=True)
    container = {"name": "main", "command": ["false"]}
    parts = {"spec": {"template": {"spec": {"containers": [container]}}}}
    code, reason, message = refused(api.batch.patch_namespaced_job, "one", api.namespace, parts)
    assert (code, reason) == (422, "Invalid")
    assert "field is immutable" in message


def a_dry_run_answers_and_keeps_nothing(api: Api) -> None:
    call, body = api.batch.create_namespaced_job, job_body("one")
    made = said(call, api.namespace, body, dry_run="All")
    assert made["metadata"]["uid"]
    assert _is_gone(api.job, "one")
    bad = job_body("one", pod={"restartPolicy": "Always"})
    assert refused(call, api.namespace, bad, dry_run="All")[0] == 422
    api.create_job("one", suspend=True)
    assert refused(call, api.namespace, body, dry_run="All")[0] == 409
    api.note("kept")
    told = api.patch_note("kept", "changed", dry_run="All")
    assert told["spec"]["holderIdentity"] == "changed"
    api.delete_note("kept", dry_run="All")
    assert api.read_note("kept")["spec"]["holderIdentity"] == "kept"


def text_of_a_secret_is_kept_encoded(api: Api) -> None:
    body = {"metadata": {"name": "one"}, "stringData": {"key": "value"}}
    made = said(api.core.create_namespaced_secret, api.namespace, body)
    assert "stringData" not in made
    assert base64.b64decode(made["data"]["key"]) == b"value"


def a_patch_removes_with_null_and_merges_conditions_by_type(api: Api) -> None:
    api.note("one", labels={"a": "1", "b": "2"})
    labels = api.mark_note("one", labels={"a": None, "c": "3"})["metadata"]["labels"]
    assert labels == {"b": "2", "c": "3"}
    api.create_pod("one", nodeSelector={"strata.test/none": "none"})
    for status in ("False", "True"):
        said_now = {"type": "strata.test/Seen", "status": status}
        patch = {"status": {"conditions": [said_now]}}
        said(api.core.patch_namespaced_pod_status, "one", api.namespace, patch)
    wait_until(lambda: len(_conditions(api.pod("one"))) == 2, 20)
    conditions = _conditions(api.pod("one"))
    assert conditions["strata.test/Seen"]["status"] == "True"
    assert conditions["PodScheduled"]["status"] == "False"


# Lists


def labels_select(api: Api) -> None:
    api.note("a", labels={"tier": "one", "odd": "yes"})
    api.note("b", labels={"tier": "two"})
    api.note("c", labels={"tier": "three", "odd": "yes"})
    api.note("d")
    expected = {
        "tier=one": "a",
        "tier==one": "a",
        "tier!=one": "bcd",
        "tier": "abc",
        "!tier": "d",
        "tier in (one,two)": "ab",
        "tier notin (one,two)": "cd",
        "odd,tier!=one": "c",
        "tier in (one, three),odd=yes": "ac",
    }
    for selector, found in expected.items():
        assert names(api.notes(label_selector=selector)) == list(found), selector
    assert refused(api.notes, label_selector="tier in one")[0] == 400


def fields_select(api: Api) -> None:
    api.note("a")
    api.note("b")
    assert names(api.notes(field_selector="metadata.name=a")) == ["a"]
    assert names(api.notes(field_selector="metadata.name!=a")) == ["b"]
    api.create_pod("one", nodeSelector={"strata.test/none": "none"})
    call = api.core.list_namespaced_pod
    assert names(said(call, api.namespace, field_selector="spec.nodeName=")) == ["one"]
    assert names(said(call, api.namespace, field_selector="status.phase=Pending")) == ["one"]
    assert names(said(call, api.namespace, field_selector="status.phase!=Pending")) == []
    unknown = "spec.hostname=a"
    code, reason, message = refused(call, api.namespace, field_selector=unknown)
    assert (code, reason) == (400, "BadRequest")
    assert "field label not supported: spec.hostname" in message


def a_list_comes_in_pages_of_one_moment(api: Api) -> None:
    for name in "abcde":
        api.note(name, labels={"paged": "yes"})
    options: Object = {"label_selector": "paged=yes", "limit": 2}
    first = api.notes(**options)
    api.note("aa", labels={"paged": "yes"})
    api.delete_note("d")
    second = api.notes(**options, _continue=first["metadata"]["continue"])
    third = api.notes(**options, _continue=second["metadata"]["continue"])
    assert [names(page) for page in (first, second, third)] == [["a", "b"], ["c", "d"], ["e"]]
    versions = {page["metadata"]["resourceVersion"] for page in (first, second, third)}
    assert len(versions) == 1
    assert not third["metadata"].get("continue")
    assert refused(api.notes, limit=2, _continue="nonsense")[0] == 400


# Watches


def a_watch_tells_what_happens_after_a_list(api: Api) -> None:
    api.note("before")
    version = api.notes()["metadata"]["resourceVersion"]
    api.note("one")
    api.patch_note("one", "changed")
    api.delete_note("one")
    events = list(api.watch_notes(2, resource_version=version))
    told = [(each["type"], each["object"]["metadata"]["name"]) for each in events]
    assert told == [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one")]
    assert [each["object"]["spec"]["holderIdentity"] for each in events] == [
        "one",
        "changed",
        "changed",
    ]
    versions = [int(each["object"]["metadata"]["resourceVersion"]) for each in events]
    assert versions == sorted(set(versions))
    assert versions[0] > int(version)


def a_watch_from_nowhere_begins_with_what_is_there(api: Api) -> None:
    api.note("one")
    watch = api.watch_notes(4)
    assert next(watch)["object"]["metadata"]["name"] == "one"
    api.note("two")
    told = [(each["type"], each["object"]["metadata"]["name"]) for each in watch]
    assert told == [("ADDED", "two")]


def what_leaves_a_selection_is_deleted_to_its_watch(api: Api) -> None:
    version = api.notes()["metadata"]["resourceVersion"]
    api.note("one")
    api.mark_note("one", labels={"mine": "yes"})
    api.patch_note("one", "changed")
    api.mark_note("one", labels={"mine": "no"})
    api.delete_note("one")
    events = api.watch_notes(2, resource_version=version, label_selector="mine=yes")
    assert [each["type"] for each in events] == ["ADDED", "MODIFIED", "DELETED"]


def a_watch_ends_after_its_time_with_a_bookmark(api: Api) -> None:
    made = api.note("one")["metadata"]
    options: Object = {"resource_version": made["resourceVersion"], "allow_watch_bookmarks": True}
    events = list(api.watch_notes(5, **options))
    assert {each["type"] for each in events} == {"BOOKMARK"}
    for each in events:
        assert each["object"]["kind"] == "Lease"
        assert int(each["object"]["metadata"]["resourceVersion"]) >= int(made["resourceVersion"])
    last = events[-1]["object"]["metadata"]["resourceVersion"]
    api.note("two")
    (event,) = api.watch_notes(2, resource_version=last)
    assert event["object"]["metadata"]["name"] == "two"


def a_watch_from_too_long_ago_is_410(api: Api) -> None:
    events = list(api.watch_notes(5, resource_version="1"))
    if not events:
        pytest.skip("this control plane is so young that it has forgotten nothing yet")
    (event,) = events
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


# Deletion


def a_finalizer_holds_an_object_back(api: Api) -> None:
    api.note("one", finalizers=[HOLD])
    api.delete_note("one")
    held = api.read_note("one")["metadata"]
    assert held["deletionTimestamp"]
    api.delete_note("one")
    assert api.read_note("one")["metadata"]["deletionTimestamp"] == held["deletionTimestamp"]
    api.mark_note("one", finalizers=None)
    assert _is_gone(api.read_note, "one")


def foreground_deletion_waits_for_the_pods(api: Api) -> None:
    pod = _held_pod(api)
    api.delete_job("one", "Foreground")
    wait_until(lambda: "deletionTimestamp" in api.pod(pod)["metadata"], 30)
    job = api.job("one")["metadata"]
    assert job["deletionTimestamp"]
    assert "foregroundDeletion" in job["finalizers"]
    _let_go(api, pod)
    api.wait_until_gone(api.job, "one")
    api.wait_until_gone(api.pod, pod)


def background_deletion_does_not_wait(api: Api) -> None:
    pod = _held_pod(api)
    api.delete_job("one", "Background")
    api.wait_until_gone(api.job, "one")
    wait_until(lambda: "deletionTimestamp" in api.pod(pod)["metadata"], 30)
    _let_go(api, pod)
    api.wait_until_gone(api.pod, pod)


def what_belongs_to_a_job_goes_with_it(api: Api) -> None:
    job = api.create_job("one", suspend=True)["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "one", "uid": job["uid"]}
    body = {
        "metadata": {"name": "one", "ownerReferences": [owner]},
        "spec": {"clusterIP": "None", "selector": {"job-name": "one"}},
    }
    said(api.core.create_namespaced_service, api.namespace, body)
    api.note("one", ownerReferences=[owner])
    api.delete_job("one", "Background")
    api.wait_until_gone(
        lambda name: said(api.core.read_namespaced_service, name, api.namespace), "one"
    )
    api.wait_until_gone(api.read_note, "one")


def a_namespace_takes_all_with_it(api: Api) -> None:
    inner = f"{api.namespace}-inner"
    said(api.core.create_namespace, {"metadata": {"name": inner}})
    body = {"metadata": {"name": "one"}}
    said(api.core.create_namespaced_config_map, inner, body)
    said(api.core.delete_namespace, inner)
    api.wait_until_gone(lambda name: said(api.core.read_namespace, name), inner)
    assert _is_gone(lambda name: said(api.core.read_namespaced_config_map, name, inner), "one")


def a_pod_gets_its_grace_period(api: Api) -> None:
    script = "trap 'echo stopped; exit 0' TERM; echo started; while :; do sleep 0.1; done"
    api.create_pod("one", script)
    api.wait_for_phase("one", "Running")
    wait_until(lambda: "started" in api.log("one"), 20)
    answer = api.core.read_namespaced_pod_log(
        "one", api.namespace, follow=True, _preload_content=False
    )
    said(api.core.delete_namespaced_pod, "one", api.namespace)
    assert list(_lines(answer)) == [b"started", b"stopped"]
    api.wait_until_gone(api.pod, "one")


def a_pod_without_a_node_goes_at_once(api: Api) -> None:
    api.create_pod("one", nodeSelector={"strata.test/none": "none"})
    said(api.core.delete_namespaced_pod, "one", api.namespace)
    assert _is_gone(api.pod, "one")


def an_evicted_pod_says_so(api: Api) -> None:
    api.create_job("one", "sleep 60", podFailurePolicy=_fail_on_disruption())
    (pod,) = api.wait_for_pods("one", 1, "Running")
    name = pod["metadata"]["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    said(api.core.create_namespaced_pod_eviction, name, api.namespace, body)
    job = api.wait_for_job("one", "Failed")
    assert _reason(job, "Failed") == "PodFailurePolicy"
    assert "has condition DisruptionTarget" in _message(job, "Failed")


# Jobs


def a_job_runs_its_pod_and_completes(api: Api) -> None:
    api.create_job("one", "echo hello")
    job = api.wait_for_job("one", "Complete")
    assert _reason(job, "SuccessCriteriaMet") == "CompletionsReached"
    assert job["status"]["succeeded"] == 1
    assert not job["status"].get("active")
    assert job["status"]["startTime"] <= job["status"]["completionTime"]
    (pod,) = api.pods("one")
    assert pod["status"]["phase"] == "Succeeded"
    assert pod["spec"]["nodeName"]
    uid = job["metadata"]["uid"]
    expected = {
        "job-name": "one",
        "batch.kubernetes.io/job-name": "one",
        "controller-uid": uid,
        "batch.kubernetes.io/controller-uid": uid,
    }
    assert expected.items() <= pod["metadata"]["labels"].items()
    (owner,) = pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Job", "one", uid)
    assert owner["controller"] is True
    (status,) = pod["status"]["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 0
    assert status["state"]["terminated"]["reason"] == "Completed"


def a_job_without_retries_fails_with_its_pod(api: Api) -> None:
    api.create_job("one", "exit 3")
    job = api.wait_for_job("one", "Failed")
    assert _reason(job, "Failed") == _reason(job, "FailureTarget") == "BackoffLimitExceeded"
    assert condition(job, "Complete") is None
    assert job["status"]["failed"] == 1
    (pod,) = api.pods("one")
    assert _terminated(pod)["exitCode"] == 3


def a_job_makes_a_failed_pod_again(api: Api) -> None:
    api.create_job("one", "exit 3", backoffLimit=1)
    job = api.wait_for_job("one", "Failed")
    assert _reason(job, "Failed") == "BackoffLimitExceeded"
    assert job["status"]["failed"] == 2
    assert len(api.pods("one")) == 2


def an_exit_code_fails_a_job_by_its_policy(api: Api) -> None:
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [4]}}
    policy = {"rules": [rule]}
    api.create_job("one", "exit 4", backoffLimit=5, podFailurePolicy=policy)
    job = api.wait_for_job("one", "Failed")
    assert _reason(job, "Failed") == _reason(job, "FailureTarget") == "PodFailurePolicy"
    assert "failed with exit code 4" in _message(job, "Failed")
    assert len(api.pods("one")) == 1


def a_deleted_pod_counts_as_failed(api: Api) -> None:
    api.create_job("one", "exec sleep 60")
    (pod,) = api.wait_for_pods("one", 1, "Running")
    said(api.core.delete_namespaced_pod, pod["metadata"]["name"], api.namespace)
    job = api.wait_for_job("one", "Failed")
    assert _reason(job, "Failed") == "BackoffLimitExceeded"


def a_suspended_job_has_no_pods(api: Api) -> None:
    api.create_job("one", "exec sleep 60", suspend=True)
    job = api.wait_for_job("one", "Suspended")
    assert _reason(job, "Suspended") == "JobSuspended"
    assert api.pods("one") == []
    api.patch_job("one", spec={"suspend": False})
    api.wait_for_pods("one", 1, "Running")
    wait_until(lambda: condition(api.job("one"), "Suspended") is None, 20)
    assert _conditions(api.job("one"))["Suspended"]["reason"] == "JobResumed"
    api.patch_job("one", spec={"suspend": True})
    api.wait_for_job("one", "Suspended")
    api.wait_for_pods("one", 0)
    assert condition(api.job("one"), "Failed") is None


def a_job_that_ended_goes_after_its_time(api: Api) -> None:
    api.create_job("one", ttlSecondsAfterFinished=2)
    api.wait_until_gone(api.job, "one")
    api.wait_for_pods("one", 0)


def a_job_past_its_deadline_fails(api: Api) -> None:
    api.create_job("one", "exec sleep 60", activeDeadlineSeconds=2)
    job = api.wait_for_job("one", "Failed")
    assert _reason(job, "Failed") == _reason(job, "FailureTarget") == "DeadlineExceeded"
    api.wait_for_pods("one", 0)


def an_indexed_job_numbers_its_pods(api: Api) -> None:
    script = 'echo "index $JOB_COMPLETION_INDEX"'
    api.create_job("one", script, completionMode="Indexed", completions=2, parallelism=2)
    job = api.wait_for_job("one", "Complete")
    assert job["status"]["succeeded"] == 2
    assert job["status"]["completedIndexes"] == "0,1"
    pods = sorted(api.pods("one"), key=lambda pod: pod["metadata"]["name"])
    assert len(pods) == 2
    for index, pod in enumerate(pods):
        assert pod["metadata"]["name"].startswith(f"one-{index}-")
        assert pod["metadata"]["annotations"][INDEX] == str(index)
        assert pod["metadata"]["labels"][INDEX] == str(index)
        assert pod["spec"]["hostname"] == f"one-{index}"
        assert api.log(pod["metadata"]["name"]) == f"index {index}\n"


def an_indexed_job_ends_whole_when_a_part_fails(api: Api) -> None:
    script = "test $JOB_COMPLETION_INDEX = 1 && exit 4; exec sleep 60"
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [4]}}
    api.create_job(
        "one",
        script,
        completionMode="Indexed",
        completions=2,
        parallelism=2,
        podFailurePolicy={"rules": [rule]},
    )
    job = api.wait_for_job("one", "Failed")
    assert _reason(job, "Failed") == "PodFailurePolicy"
    assert "index 1" in _message(job, "Failed") or "one-1-" in _message(job, "Failed")
    wait_until(lambda: not api.job("one")["status"].get("active"), 30)


# Pods and nodes


def a_pod_reads_config_maps_secrets_and_its_own_fields(api: Api) -> None:
    body = {"metadata": {"name": "settings"}, "data": {"is": "settings"}}
    said(api.core.create_namespaced_config_map, api.namespace, body)
    body = {"metadata": {"name": "secret"}, "stringData": {"KEY": "hidden", "OTHER": "too"}}
    said(api.core.create_namespaced_secret, api.namespace, body)
    key = {"secretKeyRef": {"name": "secret", "key": "KEY"}}
    container = {
        "envFrom": [{"secretRef": {"name": "secret"}}],
        "env": [
            {"name": "PLAIN", "value": "text"},
            {"name": "NAMED", "valueFrom": key},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "FILE", "value": "/etc/settings/is"},
        ],
        "volumeMounts": [{"name": "settings", "mountPath": "/etc/settings"}],
    }
    volumes = [{"name": "settings", "configMap": {"name": "settings"}}]
    script = 'echo "$PLAIN $NAMED $OTHER $POD $(cat $FILE)"'
    api.create_pod("one", script, container=container, volumes=volumes)
    api.wait_for_phase("one", "Succeeded")
    assert api.log("one") == "text hidden too one settings\n"


def a_pod_that_fits_nowhere_waits_and_says_why(api: Api) -> None:
    api.create_pod("big", container={"resources": {"requests": {"cpu": "9000"}}})
    api.create_pod("lost", nodeSelector={"strata.test/none": "none"})
    expected = {"big": "Insufficient cpu", "lost": "didn't match Pod's node affinity/selector"}
    for name, why in expected.items():
        wait_until(lambda name=name: "PodScheduled" in _conditions(api.pod(name)), 20)
        scheduled = _conditions(api.pod(name))["PodScheduled"]
        assert (scheduled["status"], scheduled["reason"]) == ("False", "Unschedulable")
        assert scheduled["message"].startswith("0/")
        assert why in scheduled["message"]
        wait_until(lambda name=name: bool(api.events(name, "FailedScheduling")), 20)
        assert why in api.events(name, "FailedScheduling")[0]


def a_pod_waits_until_its_share_is_free(api: Api) -> None:
    with _node(api, gpus=1) as node:
        share = {
            "container": {"resources": {"limits": {"nvidia.com/gpu": "1"}}},
            "nodeSelector": {"kubernetes.io/hostname": node.name},
        }
        api.create_pod("first", "exec sleep 60", **share)
        api.wait_for_phase("first", "Running")
        api.create_pod("second", **share)
        wait_until(lambda: "PodScheduled" in _conditions(api.pod("second")), 20)
        told = _conditions(api.pod("second"))["PodScheduled"]
        assert "Insufficient nvidia.com/gpu" in told["message"]
        said(api.core.delete_namespaced_pod, "first", api.namespace)
        api.wait_for_phase("second", "Succeeded")


def a_tainted_node_takes_only_what_tolerates_it(api: Api) -> None:
    with _node(api) as node:
        taint = {"key": "strata.test/only", "value": "mine", "effect": "NoSchedule"}
        said(api.core.patch_node, node.name, {"spec": {"taints": [taint]}})
        here = {"nodeSelector": {"kubernetes.io/hostname": node.name}}
        api.create_pod("other", **here)
        wait_until(lambda: "PodScheduled" in _conditions(api.pod("other")), 20)
        assert "untolerated taint" in _conditions(api.pod("other"))["PodScheduled"]["message"]
        tolerated = {"key": "strata.test/only", "operator": "Equal", "value": "mine"}
        api.create_pod("mine", tolerations=[{**tolerated, "effect": "NoSchedule"}], **here)
        api.wait_for_phase("mine", "Succeeded")


def a_silent_node_loses_its_pods(api: Api) -> None:
    with _node(api) as node:
        patience = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
        pod = {
            "nodeSelector": {"kubernetes.io/hostname": node.name},
            "tolerations": [{"key": UNREACHABLE, **patience}],
        }
        api.create_job("one", "exec sleep 300", pod=pod)
        (pod,) = api.wait_for_pods("one", 1, "Running")
        node.vanish()
        name = pod["metadata"]["name"]
        wait_until(lambda: "deletionTimestamp" in api.pod(name)["metadata"], 120)
        told = _conditions(api.pod(name))["DisruptionTarget"]
        assert told["reason"] == "DeletionByTaintManager"
        seen = said(api.core.read_node, node.name)
        assert _conditions(seen)["Ready"]["status"] == "Unknown"
        taints = {(taint["key"], taint["effect"]) for taint in seen["spec"]["taints"]}
        assert (UNREACHABLE, "NoExecute") in taints
        said(api.core.delete_namespaced_pod, name, api.namespace, grace_period_seconds=0)
        assert _reason(api.wait_for_job("one", "Failed"), "Failed") == "BackoffLimitExceeded"


def a_log_can_be_read_followed_and_cut(api: Api) -> None:
    api.create_pod("one", "for i in 1 2 3; do echo line $i; sleep 0.3; done")
    wait_until(lambda: _phase(api.pod("one")) in {"Running", "Succeeded"}, 60)
    answer = api.core.read_namespaced_pod_log(
        "one", api.namespace, follow=True, _preload_content=False
    )
    assert list(_lines(answer)) == [b"line 1", b"line 2", b"line 3"]
    api.wait_for_phase("one", "Succeeded")
    assert api.log("one") == "line 1\nline 2\nline 3\n"
    assert api.log("one", tail_lines=1) == "line 3\n"
    api.create_pod("lost", nodeSelector={"strata.test/none": "none"})
    assert api.log("lost") == ""
    call = api.core.read_namespaced_pod_log
    assert refused(call, "none", api.namespace)[:2] == (404, "NotFound")


# Limits and rights


def a_quota_refuses_pods(api: Api) -> None:
    body = {"metadata": {"name": "small"}, "spec": {"hard": {"pods": "1"}}}
    said(api.core.create_namespaced_resource_quota, api.namespace, body)
    read = api.core.read_namespaced_resource_quota
    wait_until(lambda: "hard" in said(read, "small", api.namespace).get("status", {}), 30)
    api.create_pod("first", nodeSelector={"strata.test/none": "none"})
    second = {"metadata": {"name": "second"}, "spec": pod_spec("true")}
    code, reason, message = refused(api.core.create_namespaced_pod, api.namespace, second)
    assert (code, reason) == (403, "Forbidden")
    asked = "exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1"
    assert message == f'pods "second" is forbidden: {asked}'
    api.create_job("one")
    wait_until(lambda: bool(api.events("one", "FailedCreate")), 30)
    assert "exceeded quota: small" in api.events("one", "FailedCreate")[0]
    assert condition(api.job("one"), "Failed") is None
    said(api.core.delete_namespaced_pod, "first", api.namespace)
    api.wait_for_job("one", "Complete", 120)


def rights_can_be_asked_for(api: Api) -> None:
    asked = {"namespace": api.namespace, "verb": "create", "group": "batch", "resource": "jobs"}
    body = {"spec": {"resourceAttributes": asked}}
    answer = said(api.review.create_self_subject_access_review, body)
    assert answer["status"]["allowed"] is True


def an_unknown_token_is_401(api: Api) -> None:
    known = yaml.safe_load(Path(api.kubeconfig).read_text())
    for user in known["users"]:
        user["user"] = {"token": "expired"}
    path = api.directory / "expired"
    path.write_text(yaml.safe_dump(known))
    core = client.CoreV1Api(config.new_client_from_config(config_file=str(path)))
    code, reason, message = refused(core.list_namespaced_pod, api.namespace)
    assert (code, reason, message) == (401, "Unauthorized", "Unauthorized")


@contextmanager
def _node(api: Api, gpus: int = 0) -> Generator[NodeAgent]:
    """Add a node of our own, and wait until pods may go there."""
    name = f"{api.namespace}-node"
    capacity = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    place = api.directory / "node"
    with NodeAgent(api.kubeconfig, name, place, capacity=capacity, images={IMAGE}) as node:

        def is_ready() -> bool:
            seen = said(api.core.read_node, name)
            return condition(seen, "Ready") is not None and not seen["spec"].get("taints")

        wait_until(is_ready, 30, f"for node {name}")
        yield node


def _held_pod(api: Api) -> str:
    """Start a Job, and return its pod, which a finalizer holds back."""
    api.create_job("one", pod={"nodeSelector": {"strata.test/none": "none"}})
    (pod,) = api.wait_for_pods("one", 1)
    name = pod["metadata"]["name"]
    patch = {"metadata": {"finalizers": [*pod["metadata"].get("finalizers", []), HOLD]}}
    said(api.core.patch_namespaced_pod, name, api.namespace, patch)
    return name


def _let_go(api: Api, pod: str) -> None:
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": [HOLD]}}
    said(api.core.patch_namespaced_pod, pod, api.namespace, patch)


def _fail_on_disruption() -> Object:
    told = {"type": "DisruptionTarget", "status": "True"}
    return {"rules": [{"action": "FailJob", "onPodConditions": [told]}]}


def _is_gone(read: Callable[[str], Object], name: str) -> bool:
    try:
        read(name)
    except NotFoundException:
        return True
    return False


def _lines(answer: Any) -> Iterator[bytes]:
    """Yield the lines of an answer while it is sent."""
    rest = b""
    for data in answer.stream(65536):
        *whole, rest = (rest + data).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _phase(pod: Object) -> str:
    return pod.get("status", {}).get("phase", "")


def _conditions(thing: Object) -> dict[str, Object]:
    return {each["type"]: each for each in thing.get("status", {}).get("conditions") or []}


def _reason(thing: Object, kind: str) -> str:
    return (condition(thing, kind) or {}).get("reason", "")


def _message(thing: Object, kind: str) -> str:
    return (condition(thing, kind) or {}).get("message", "")


def _terminated(pod: Object) -> Object:
    return pod["status"]["containerStatuses"][0]["state"]["terminated"]


ALL: list[Callable[[Api], None]] = [
    a_new_object_has_identity_version_and_time,
    a_change_raises_the_version_and_keeps_the_identity,
    generation_counts_changes_of_the_spec,
    a_name_is_made_from_its_beginning,
    what_is_not_there_is_404,
    a_name_is_taken_once,
    a_stale_write_is_refused,
    a_delete_meant_for_another_object_is_refused,
    bad_objects_are_422,
    the_pod_of_a_job_cannot_be_changed,
    a_dry_run_answers_and_keeps_nothing,
    text_of_a_secret_is_kept_encoded,
    a_patch_removes_with_null_and_merges_conditions_by_type,
    labels_select,
    fields_select,
    a_list_comes_in_pages_of_one_moment,
    a_watch_tells_what_happens_after_a_list,
    a_watch_from_nowhere_begins_with_what_is_there,
    what_leaves_a_selection_is_deleted_to_its_watch,
    a_watch_ends_after_its_time_with_a_bookmark,
    a_watch_from_too_long_ago_is_410,
    a_finalizer_holds_an_object_back,
    foreground_deletion_waits_for_the_pods,
    background_deletion_does_not_wait,
    what_belongs_to_a_job_goes_with_it,
    a_namespace_takes_all_with_it,
    a_pod_gets_its_grace_period,
    a_pod_without_a_node_goes_at_once,
    an_evicted_pod_says_so,
    a_job_runs_its_pod_and_completes,
    a_job_without_retries_fails_with_its_pod,
    a_job_makes_a_failed_pod_again,
    an_exit_code_fails_a_job_by_its_policy,
    a_deleted_pod_counts_as_failed,
    a_suspended_job_has_no_pods,
    a_job_that_ended_goes_after_its_time,
    a_job_past_its_deadline_fails,
    an_indexed_job_numbers_its_pods,
    an_indexed_job_ends_whole_when_a_part_fails,
    a_pod_reads_config_maps_secrets_and_its_own_fields,
    a_pod_that_fits_nowhere_waits_and_says_why,
    a_pod_waits_until_its_share_is_free,
    a_tainted_node_takes_only_what_tolerates_it,
    a_silent_node_loses_its_pods,
    a_log_can_be_read_followed_and_cut,
    a_quota_refuses_pods,
    rights_can_be_asked_for,
    an_unknown_token_is_401,
]
