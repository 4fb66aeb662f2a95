"""Only tiers that exist can be opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.contract import EnvironmentMissing
from components.sandbox.interface import open_sandbox


def test_a_tier_without_code_is_missing(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match="apt-get install bubblewrap") as caught:
        open_sandbox("pods", tmp_path)
    assert caught.value.exit_code == 3
