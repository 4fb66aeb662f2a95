from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.artifacts.manifest import InputRecord, content_digest, list_files
from components.execution.execute import execute
from components.execution.exit_codes import ExitCode
from components.tracking.journal import metric_points


def result(request):
    return json.loads(Path(request.uri).with_name("result.json").read_bytes())


def test_commits_a_manifest_that_describes_the_files(store, request_count):
    request = request_count(upto=4)
    assert execute(request.uri) == ExitCode.DONE
    manifest = store.manifest("count", request.key)
    assert manifest.facts == {"total": 6}
    assert manifest.digest == content_digest(list_files(store.files(manifest)))
    assert store.damaged(manifest) == []
    assert result(request)["digest"] == manifest.digest


def test_equal_requests_give_equal_digests_in_separate_attempts(store, request_count):
    first, second = request_count(upto=0), request_count(upto=0)
    assert (first.key, first.attempt, second.attempt) == (second.key, 1, 2)
    execute(second.uri)
    assert execute(first.uri) == ExitCode.DONE, "a loser of the race is done, too"
    assert store.manifest("count", first.key).attempt == 2
    assert not store.attempt("count", first.key, 1).files.exists()


@pytest.mark.parametrize(
    ("fail", "code"),
    [
        ("error", ExitCode.FAILED),
        ("bad_input", ExitCode.BAD_INPUT),
        ("environment", ExitCode.ENVIRONMENT),
        ("guard", ExitCode.GUARD),
        ("try_again", ExitCode.TRY_AGAIN),
    ],
)
def test_the_cause_decides_the_exit_code_and_nothing_is_committed(store, request_count, fail, code):
    request = request_count(fail=fail)
    assert execute(request.uri) == code
    assert store.manifest("count", request.key) is None
    assert result(request)["code"] == code


def test_a_damaged_input_is_condemned(store, request_count):
    parent = request_count(upto=2)
    execute(parent.uri)
    manifest = store.manifest("count", parent.key)
    record = InputRecord(
        name="before", stage="count", step="count", key=parent.key, digest=manifest.digest
    )
    child = request_count(inputs=(record,), upto=3)
    (store.files(manifest) / "numbers.json").write_text("[0, 9]")
    assert execute(child.uri) == ExitCode.NOT_FOUND
    assert "numbers.json has other bytes" in result(child)["cause"]
    assert store.manifest("count", parent.key) is None


def test_changed_sources_are_refused(request_count):
    request = request_count()
    Path(request.uri).write_text(
        request.model_copy(update={"code_digest": "0" * 64}).model_dump_json()
    )
    assert execute(request.uri) == ExitCode.ENVIRONMENT
    assert "changed between plan and start" in result(request)["cause"]


def test_a_newer_attempt_stops_an_older_one_and_takes_over_its_resume_point(store, request_count):
    older = request_count(upto=400, seconds_each=0.02)
    newer = request_count(upto=400, seconds_each=0.02)
    assert execute(older.uri) == ExitCode.PREEMPTED
    assert newer.attempt == 2
    stopped_at = json.loads((store.attempt("count", older.key, 1).resume / "at.json").read_text())
    assert 0 <= stopped_at < 400
    quick = newer.model_copy(update={"config": {**newer.config, "seconds_each": 0.0}})
    Path(newer.uri).write_text(quick.model_dump_json())
    assert execute(newer.uri) == ExitCode.DONE
    attempts = store.attempts("count", newer.key)
    points = metric_points(attempt.journal for attempt in attempts)
    assert [point.step for point in points] == list(range(400))
    assert not any(attempt.resume.exists() for attempt in attempts), "resume points go with success"


def test_a_missing_request_is_not_found(tmp_path):
    nowhere = tmp_path / "artifacts/count/key/attempts/1/request.json"
    assert execute(str(nowhere)) == ExitCode.NOT_FOUND
    assert execute(str(tmp_path / "request.json")) == ExitCode.BAD_INPUT
