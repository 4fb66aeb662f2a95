"""Only tiers that exist can be opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.contract import EnvironmentMissing
from components.sandbox.interface import Tier, open_sandbox


def test_a_tier_without_code_is_missing(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match=r"apt-get install bubblewrap.*landlock") as caught:
        open_sandbox("pods", tmp_path)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("tier", ["bubblewrap", "landlock"])
def test_a_tier_shows_the_files(tier: Tier, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1", encoding="utf-8")
    sandbox = open_sandbox(tier, tmp_path)
    try:
        assert sandbox.run("ls").stdout == "one\n"
    finally:
        sandbox.close()
