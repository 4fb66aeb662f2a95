"""The digest that labels an image, and the check that ends a build whose label would not fit."""

from __future__ import annotations

import pytest

from components.artifacts.identity import code_digest
from components.contract import EnvironmentMissing
from components.execution.image_code import expect, image_code, main
from components.stages import STAGES


def test_it_covers_every_stage(monkeypatch):
    before = image_code()
    assert len(before) == 64
    assert before != code_digest(next(iter(STAGES.values()))).digest
    for name in STAGES:
        with monkeypatch.context() as patch:
            patch.delitem(STAGES, name)
            assert image_code() != before
    assert image_code() == before


def test_another_digest_is_refused_with_the_documented_code(capsys):
    expect(image_code())
    with pytest.raises(EnvironmentMissing, match="repeat the build"):
        expect("0" * 64)
    assert main(["--expect", "0" * 64]) == 3
    assert "0" * 64 in capsys.readouterr().err
    assert main(["--expect", image_code()]) == 0
    assert capsys.readouterr().out.strip() == image_code()
