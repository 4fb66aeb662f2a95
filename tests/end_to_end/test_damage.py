"""Artifacts that lost a file or a bit: found, set aside, made again, and nothing else with them."""

from __future__ import annotations

import pytest

from components.artifacts.manifest import Manifest
from tests.end_to_end.command_line import Home
from tests.end_to_end.conftest import CiRun

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def condemned(home: Home, manifest: Manifest) -> list[Manifest]:
    """Return the manifests that were set aside at an artifact's key."""
    place = f"artifacts/{manifest.stage}/{manifest.key}/condemned"
    found = [home.store.objects.read(f"{place}/{name}") for name in home.store.objects.names(place)]
    return [Manifest.model_validate_json(data) for data in found if data]


def test_a_deleted_file_is_found_and_its_artifact_alone_is_made_again(
    ci: CiRun, ci_copy: Home
) -> None:
    lost = ci_copy.manifest("tokenizer")
    name = lost.files[0].path
    (ci_copy.store.files(lost) / name).unlink()
    answer = ci_copy.strata("run", "ci", "--json")
    assert f"damaged: {name} is missing" in answer.talk
    assert answer.last_line["executed"] == ["tokenizer"]
    assert len(answer.last_line["cached"]) == len(ci.home.run.steps) - 1
    assert condemned(ci_copy, lost) == [lost]
    again = ci_copy.manifest("tokenizer")
    assert (again.digest, again.attempt) == (lost.digest, lost.attempt + 1)
    assert ci_copy.store.damaged(again) == []
    assert ci_copy.digests() == ci.home.digests()


def test_a_flipped_bit_is_found_by_verify(ci: CiRun, ci_copy: Home) -> None:
    sound = ci_copy.manifest("tasks")
    record = max(sound.files, key=lambda file: file.bytes)
    path = ci_copy.store.files(sound) / record.path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    quick = ci_copy.strata("run", "ci", "--json")
    assert quick.last_line["executed"] == [], "names and sizes are as they were"
    answer = ci_copy.strata("run", "ci", "--verify", "--json")
    assert f"tasks: {record.path} has other bytes than its manifest says" in answer.talk
    assert answer.last_line["executed"] == ["tasks"]
    assert condemned(ci_copy, sound) == [sound]
    assert ci_copy.store.damaged(ci_copy.manifest("tasks")) == []
    assert ci_copy.digests() == ci.home.digests()
