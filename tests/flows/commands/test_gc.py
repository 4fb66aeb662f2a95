from __future__ import annotations

import json

import pytest

from components.artifacts.local_store import LocalStore
from components.artifacts.store import ArtifactStore
from flows.cli import main
from tests.flows.test_garbage import make, refer


@pytest.fixture
def store(tmp_path, monkeypatch) -> ArtifactStore:
    monkeypatch.setenv("STRATA_HOME", str(tmp_path))
    return ArtifactStore(LocalStore(tmp_path / "store"), tmp_path / "locks")


def test_nothing_goes_without_being_asked_and_then_all_of_it(store, capsys):
    make(store, "stray")
    assert main(["gc", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["freed"] == 0
    assert [(entry["kind"], entry["deleted"]) for entry in told["garbage"]] == [("artifact", False)]
    assert store.manifest("count", "stray") is not None
    assert main(["gc", "--delete", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["freed"] == told["bytes"] > 0
    assert list(store.keys()) == []


def test_the_table_names_what_and_how_much(store, capsys):
    make(store, "stray")
    make(store, "kept")
    refer(store, "run", "kept")
    assert main(["gc", "--delete"]) == 0
    told = capsys.readouterr()
    assert "artifact" in told.out
    assert "deleted" in told.out
    assert told.err.startswith("freed ")
    assert main(["gc", "--days", "-1"]) == 2
    assert main(["gc"]) == 0
    assert capsys.readouterr().err.endswith("nothing to free\n")
