"""What a Job and its pods say: one case for each way in which an attempt waits, runs or ends."""

from __future__ import annotations

from typing import Any

import pytest

from components.execution.job_status import first_end, job_status, seconds
from components.execution.launch import Ended, Reason, Running

CREATED = "2026-11-25T12:00:00Z"
NOW = seconds(CREATED) + 10


def job(*conditions: dict[str, Any], suspend: bool = False, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "j", "labels": labels},
        "spec": {"suspend": suspend},
        "status": {"conditions": [{"status": "True", **each} for each in conditions]},
    }


def pod(phase: str = "Running", index: int = 0, **status: Any) -> dict[str, Any]:
    name = "batch.kubernetes.io/job-completion-index"
    metadata = {"name": f"p{index}", "creationTimestamp": CREATED, "annotations": {name: index}}
    return {"metadata": metadata, "status": {"phase": phase, **status}}


def ended(code: int, reason: str = "Error", at: str = CREATED, **more: Any) -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "reason": reason, "finishedAt": at}}
    return {"containerStatuses": [{"name": "stage", "state": state}], **more}


def disrupted(reason: str) -> list[dict[str, Any]]:
    return [{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "m"}]


FAILED = {"type": "Failed", "reason": "PodFailurePolicy", "message": "a pod failed"}


@pytest.mark.parametrize(
    ("of_pod", "code", "reason"),
    [
        (ended(1), 1, Reason.APP_ERROR),
        (ended(4), 4, Reason.GUARD),
        (ended(3), 3, Reason.REFUSED),
        (ended(75), 75, Reason.SERVICE_AWAY),
        (ended(143), 143, Reason.STOPPED),
        (ended(137), 137, Reason.KILLED),
        (ended(137, "OOMKilled"), 137, Reason.OUT_OF_MEMORY),
        (ended(137) | {"reason": "Evicted"}, 137, Reason.EVICTED),
        (ended(137, conditions=disrupted("TerminationByKubelet")), 137, Reason.EVICTED),
        (ended(143, conditions=disrupted("EvictionByEvictionAPI")), 143, Reason.EVICTED),
        (ended(143, conditions=disrupted("PreemptionByScheduler")), 143, Reason.PREEMPTED),
        (ended(137, conditions=disrupted("DeletionByTaintManager")), 137, Reason.NODE_LOST),
        (ended(137) | {"reason": "NodeLost"}, 137, Reason.NODE_LOST),
        (ended(137) | {"reason": "DeadlineExceeded"}, 137, Reason.DEADLINE),
    ],
)
def test_a_failed_pod_tells_the_cause(of_pod: dict[str, Any], code: int, reason: Reason) -> None:
    status = job_status(job(FAILED), [pod("Failed", **of_pod)], NOW, 60)
    assert isinstance(status, Ended)
    assert (status.code, status.reason) == (code, reason)


def test_a_job_over_its_time_ends_by_deadline() -> None:
    late = {"type": "Failed", "reason": "DeadlineExceeded"}
    status = job_status(job(late), [pod("Failed", **ended(143))], NOW, 60)
    assert isinstance(status, Ended)
    assert status.reason is Reason.DEADLINE


def test_a_complete_job_is_done() -> None:
    status = job_status(job({"type": "Complete"}), [], NOW, 60)
    assert status == Ended(0, "", Reason.COMPLETED)


def test_of_several_pods_the_first_real_failure_decides() -> None:
    pods = [
        pod("Failed", 0, **ended(75, at="2026-11-25T12:00:01Z")),
        pod("Failed", 1, **ended(4, at="2026-11-25T12:00:03Z")),
        pod("Failed", 2, **ended(1, at="2026-11-25T12:00:04Z")),
        pod("Succeeded", 3, **ended(0)),
    ]
    first = first_end(pods)
    assert first is not None
    assert first.code == 4
    assert first_end([pods[0]]) == Ended(75, "a service is away; try again")


def test_an_attempt_is_done_once_every_pod_has_succeeded() -> None:
    two = job()
    two["spec"]["completions"] = 2
    done = [pod("Succeeded", index, **ended(0)) for index in (0, 1)]
    status = job_status(two, done, NOW, 60)
    assert isinstance(status, Ended)
    assert (status.code, status.reason) == (0, Reason.COMPLETED)
    for others in (done[:1], [done[0], done[0]], [done[0], pod("Running", 1)]):
        assert isinstance(job_status(two, others, NOW, 60), Running)


@pytest.mark.parametrize("why", ["ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError"])
def test_a_pod_that_cannot_start_is_given_time(why: str) -> None:
    waiting = {"waiting": {"reason": why, "message": "not found"}}
    pods = [pod("Pending", containerStatuses=[{"name": "stage", "state": waiting}])]
    assert job_status(job(), pods, NOW, 60) == Running(f"{why}: not found")
    late = job_status(job(), pods, NOW + 60, 60)
    assert isinstance(late, Ended)
    assert (late.code, late.cause) == (3, f"{why}: not found")


def test_time_in_a_queue_is_no_time_in_which_a_pod_failed_to_start() -> None:
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    placed = {
        "type": "PodScheduled",
        "status": "True",
        "lastTransitionTime": "2026-11-25T14:00:00Z",
    }
    pods = [
        pod(
            "Pending",
            conditions=[placed],
            containerStatuses=[{"name": "stage", "state": waiting}],
        )
    ]
    just_placed = seconds("2026-11-25T14:00:05Z")
    assert job_status(job(), pods, just_placed, 60) == Running("ErrImagePull: not found")
    assert isinstance(job_status(job(), pods, just_placed + 60, 60), Ended)


def test_a_pod_without_a_place_says_what_the_scheduler_says() -> None:
    said = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
    status = job_status(job(), [pod("Pending", conditions=[said])], NOW + 9999, 60)
    assert status == Running("unschedulable: 0/3 nodes are available")


def test_a_queued_job_waits_for_kueue() -> None:
    queued = job(suspend=True, **{"kueue.x-k8s.io/queue-name": "team"})
    assert job_status(queued, [], NOW, 60) == Running("queued by Kueue (team)")
    assert job_status(job(suspend=True), [], NOW, 60) == Running("suspended")


def test_a_pod_that_was_given_up_with_its_node_is_lost_although_nobody_says_it_ended() -> None:
    gone = pod("Running", conditions=disrupted("DeletionByTaintManager"))
    status = job_status(job(), [gone], NOW, 60)
    assert isinstance(status, Ended)
    assert status.reason is Reason.NODE_LOST


def test_what_runs_runs() -> None:
    assert job_status(job(), [pod()], NOW, 60) == Running()
    assert job_status(job(), [], NOW, 60) == Running("its pod is not made yet")
